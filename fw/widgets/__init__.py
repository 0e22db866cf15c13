"""Widgets: the calls of their owners, the calls of the pages that show them, and their statistics."""
