"""What all features share of HTTP: from a request to values, and from values to an answer."""
