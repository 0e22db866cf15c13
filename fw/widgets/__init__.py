"""Widgets: their owner's side, what the page that shows one calls, and their statistics."""
