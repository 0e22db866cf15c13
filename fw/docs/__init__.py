"""The API's description, and the pages that show and explain it."""
