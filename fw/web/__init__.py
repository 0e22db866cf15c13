"""HTTP, which knows no feature: from a request to values, and from values to an answer."""
