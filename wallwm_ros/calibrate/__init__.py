"""What the calibrate commands do."""
