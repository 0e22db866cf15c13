"""Webhooks: what happens to an inbox, sent to other programs."""
