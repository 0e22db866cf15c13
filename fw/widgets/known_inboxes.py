"""Remembers to which inbox a widget leads, so that submissions over a limit are refused without the database."""

from typing import Final

from aiohttp import web

MOST: Final = 10_000
"""How many widgets are remembered."""


class KnownInboxes:
    """Maps ids of widgets to inboxes. An entry that is out of date does no harm: it only serves to count limits."""

    def __init__(self) -> None:
        self._by_widget: dict[str, str] = {}

    def get(self, widget_id: str) -> str | None:
        return self._by_widget.get(widget_id)

    def learn(self, widget_id: str, username: str) -> str:
        """Remember the owner of a widget, and return the name of the inbox as limits count it."""
        if len(self._by_widget) >= MOST:
            self._by_widget.clear()
        inbox = self._by_widget[widget_id] = username.lower()
        return inbox


KNOWN_INBOXES: Final[web.AppKey[KnownInboxes]] = web.AppKey("known_inboxes")
