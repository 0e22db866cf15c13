"""The inbox: a log with a cursor, its one way in (intake) and its one way out (feed)."""
