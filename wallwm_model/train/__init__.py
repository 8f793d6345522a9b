"""Training of the WALL-WM network: data loading, losses, stages, one loop."""
