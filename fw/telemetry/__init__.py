"""What the operators see: logs, metrics, errors, health."""
