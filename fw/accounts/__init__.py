"""Accounts: registration, login, sessions and tokens, passwords, profile, premium."""
