"""What the nodes decide and compute: no ROS, no messages, no torch; clocks injected, times in nanoseconds."""
