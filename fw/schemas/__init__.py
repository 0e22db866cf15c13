"""What bodies and queries must be."""
