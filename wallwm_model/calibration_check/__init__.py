"""Is a robot's camera calibration still true? Board poses compared between cameras, and overlays."""
