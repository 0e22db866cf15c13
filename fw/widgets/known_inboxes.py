"""Whose inbox a widget leads to, as far as it has been heard of: so a submission over the limit is refused without a look."""

from typing import Final

from aiohttp import web

MOST: Final = 10_000
"""Widgets that are remembered."""


class KnownInboxes:
    """Remembers inboxes by the ids of widgets. One that is out of date does no harm: only limits are counted by it."""

    def __init__(self) -> None:
        self._by_widget: dict[str, str] = {}

    def get(self, widget_id: str) -> str | None:
        return self._by_widget.get(widget_id)

    def learn(self, widget_id: str, username: str) -> str:
        """Remember whose a widget is, and return the inbox as limits name it."""
        if len(self._by_widget) >= MOST:
            self._by_widget.clear()
        inbox = self._by_widget[widget_id] = username.lower()
        return inbox


KNOWN_INBOXES: Final[web.AppKey[KnownInboxes]] = web.AppKey("known_inboxes")
