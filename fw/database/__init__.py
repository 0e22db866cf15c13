"""The database: its pool, its statements and migrations, and the bus that carries hints between processes."""
