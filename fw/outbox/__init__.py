"""The outbox: what changes have to have done outside the database, and mail."""
