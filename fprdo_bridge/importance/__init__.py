"""What a vision network cares about: feature extractors, Jacobian sketches, weight maps and the .idse file."""
