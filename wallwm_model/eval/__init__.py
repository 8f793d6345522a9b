"""Closed-loop evaluation of a policy in the simulator, without ROS: quick checks between trainings."""
