"""ROS 2 runtime of WALL-WM: nodes, the bridge to messages, and the core that needs neither."""
