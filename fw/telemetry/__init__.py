"""What operators see: logs, metrics, errors, health."""
