"""The inbox: a log with a cursor, its one way in (intake), its one way out (feed), and the calls that use them."""
