"""The API as strangers see it: by its description alone."""
