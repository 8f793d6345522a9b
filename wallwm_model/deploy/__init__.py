"""From trained weights to an engine bundle."""
