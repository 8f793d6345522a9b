"""Camera calibration with a ChArUco board: detection, guidance, intrinsics, hand-eye, report. No ROS inside.

Pixels in this package, as in `wallwm_model.calibration` and in calibration files, are OpenCV's and ROS's: the
centre of the top left pixel is (0, 0). Nothing is converted.
"""
