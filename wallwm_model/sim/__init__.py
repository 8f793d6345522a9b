"""The simulated two-arm robot: model, scenes, physics, pictures, truth, and the scripted expert."""
