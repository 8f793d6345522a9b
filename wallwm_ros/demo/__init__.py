"""The demonstration: plans episodes, sends events through ROS 2, records what happened, adds it up."""
