"""`fw backup` and `fw restore`: all rows in one file, in pg_dump's custom format, and back again, all or nothing.

The file holds rows alone. The migrations make the tables, and their names are in the file too: so an older file is brought up
to this release, a newer one is recognised, and nothing in a file is ever run as SQL.
"""
