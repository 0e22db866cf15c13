"""The inbox: a log with a cursor, written by the intake alone and read by the feed, and the calls that use them."""
