"""What the nodes decide and compute: no ROS, no messages, no torch; clocks are injected, times are int nanoseconds."""
