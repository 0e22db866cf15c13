"""The API's description, and the pages that explain it."""
