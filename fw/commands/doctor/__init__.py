"""`fw doctor`: looks at what goes wrong in practice, and says what was found and what to do."""
