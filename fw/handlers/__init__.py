"""What answers each route: read the input, call named statements, reply."""
