"""The WALL-WM network in torch: video tower, action tower, caption encoder. Never imported at run time."""
