"""`fw tail`: the live inbox in a terminal, a line an event, over the same WebSocket that every client uses."""

import asyncio
import contextlib
import getpass
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from fw.config import ConfigError
from fw.inbox.sockets import Close

RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
SILENT_SECONDS: Final = 60.0
"""The server pings every 25 s: a connection that is silent for twice as long is dead."""
MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "created": ("●", "1;32"),
    "read": ("✓", "2"),
    "unread": ("○", "33"),
    "deleted": ("✗", "31"),
    "resync": ("↻", "36"),
}


class SignedOutError(Exception):
    """The token is no, or no longer, good."""


class Tail:
    """Follows one inbox. The cursor is kept while it runs: whatever happens while the connection is away comes after it."""

    def __init__(self, url: str, token: str, since: int | None, write: Callable[[str], object], *, color: bool = False) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._write = write
        self._color = color
        self.cursor = since

    async def follow(self) -> None:
        """Write what happens until cancelled, over as many connections as it takes. Raises `SignedOutError`."""
        attempt = 0
        async with aiohttp.ClientSession() as http:
            while True:
                before = self.cursor
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    await self._follow_once(http)
                attempt = 0 if self.cursor != before else attempt + 1
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])

    async def _follow_once(self, http: aiohttp.ClientSession) -> None:
        query = {} if self.cursor is None else {"since": str(self.cursor)}
        headers = {"Authorization": f"Bearer {self._token}"}
        async with http.ws_connect(f"{self._url}/api/feedback/live", params=query, headers=headers) as ws:
            while True:
                message = await ws.receive(timeout=SILENT_SECONDS)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                self._take(orjson.loads(message.data))
        if ws.close_code == Close.UNAUTHORIZED:
            raise SignedOutError

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "hello":
            # Where nothing was asked for, the log begins here; else hello says where the inbox is, and not where we are.
            self.cursor = event["cursor"] if self.cursor is None else self.cursor
            return
        self._write(line(event, shutil.get_terminal_size().columns, color=self._color))
        self.cursor = event["cursor"]


def line(event: Mapping[str, Any], width: int = 80, *, color: bool = False) -> str:
    """Tell an event in one line of a terminal."""
    feedback = event.get("feedback")
    kind = event["event"] if event["event"] != "updated" or not feedback else "read" if feedback["is_read"] else "unread"
    mark, style = MARKS[kind]
    when = datetime.fromisoformat(feedback["created_at"]).astimezone() if feedback else datetime.now().astimezone()
    head = f"{mark} {event['cursor']:>6}  {when:%H:%M:%S}"
    text = f"{head}  {describe(kind, feedback)}"
    if len(text) > width:
        text = text[: max(1, width - 1)] + "…"
    return f"\x1b[{style}m{text[: len(head)]}\x1b[0m{text[len(head) :]}" if color else text


def describe(kind: str, feedback: Mapping[str, Any] | None) -> str:
    if feedback is None:
        return {"deleted": "deleted", "resync": "read the list anew"}[kind]
    rating = (feedback["metadata"] or {}).get("rating")
    parts = ["" if rating is None else f"[{rating:g}]", printable(feedback["message"])]
    words = " ".join(part for part in parts if part)
    return words if kind == "created" else f"{kind}: {words}"


def printable(text: str) -> str:
    """Make one line of a text, and nothing that a terminal would take for a command."""
    return "".join(character if character.isprintable() else " " for character in " ".join(text.split()))


def token_path(url: str) -> Path:
    """Return where the token of a server is kept after a login."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "feedbackwave" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


async def log_in(url: str) -> str:
    """Ask for a name and a password, and keep the token. Raises `ConfigError`."""
    if not sys.stdin.isatty():
        raise ConfigError("fw tail: nobody is logged in: set FW_TOKEN, or run it in a terminal")
    print(f"Log in to {url}", file=sys.stderr)
    print("Username or e-mail: ", end="", file=sys.stderr, flush=True)
    asked = {"login": (await asyncio.to_thread(input)).strip(), "password": await asyncio.to_thread(getpass.getpass)}
    try:
        async with aiohttp.ClientSession() as http, http.post(f"{url}/api/auth/login", json=asked) as response:
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, ValueError) as error:
        raise ConfigError(f"fw tail: {url} does not answer: {error}") from None
    if response.status != 200:
        raise ConfigError(f"fw tail: {answer['detail']}")
    path = token_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(answer["access_token"])
    return str(answer["access_token"])


async def tail(url: str, since: int | None) -> None:
    """Follow the inbox of FW_TOKEN or of whoever is logged in, asking once where nobody is, until cancelled."""
    token = os.environ.get("FW_TOKEN", "")
    kept = token_path(url)
    if not token and kept.is_file():
        token = kept.read_text()
    while True:
        if not token:
            token = await log_in(url)
        follower = Tail(url, token, since, lambda text: print(text, flush=True), color=sys.stdout.isatty())
        try:
            await follower.follow()
        except SignedOutError:
            if os.environ.get("FW_TOKEN"):
                raise ConfigError("fw tail: FW_TOKEN is not, or no longer, valid") from None
            kept.unlink(missing_ok=True)
            token, since = "", follower.cursor
