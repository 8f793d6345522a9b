"""Demonstrations: making them in simulation, reading them back, mirroring them."""
