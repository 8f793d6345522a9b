"""The ROS 2 nodes: thin, each composes its parts in `main`."""
