"""The README's pictures, taken of the real pages with example data."""
