"""WALL-WM as a library: specification, preprocessing, engines, simulator, network, training. Knows nothing of ROS."""
