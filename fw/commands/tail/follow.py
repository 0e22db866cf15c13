"""Following an inbox, over lost connections and other troubles of the server."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp import hdrs

from fw.commands.tail.lines import line, position, read
from fw.commands.tail.login import can_be_sent, kept_token, log_in, token_path
from fw.commands.tail.troubles import UNUSABLE, closed, no_url, reason, redirected, refusal, server_url
from fw.config import ConfigError
from fw.inbox.websocket import Close
from fw.terminal import complain

RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
CONNECT_SECONDS: Final = 20.0
SILENT_SECONDS: Final = 60.0
"""The server pings every 25 s: a connection that is silent for more than twice as long is dead."""
CLOSE_SECONDS: Final = 2.0
FRAMES: Final = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


class SignedOutError(Exception):
    """The token is not, or no longer, valid."""


class Tail:
    """Follows one inbox. It keeps the cursor while it runs, and so misses nothing while the connection is lost."""

    def __init__(
        self,
        url: str,
        token: str,
        since: int | None,
        write: Callable[[str], object],
        *,
        say: Callable[[str], object] = complain,
        color: bool = False,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._write = write
        self._say = say
        self._color = color
        self._trouble = ""
        self.cursor = since

    async def follow(self) -> None:
        """Write what happens until cancelled, over as many connections as it takes.

        Raises `SignedOutError`, and `ConfigError` if no further attempt can help.
        """
        attempt = 0
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(refuse_redirect)
        async with aiohttp.ClientSession(trace_configs=[tracing]) as http:
            while True:
                before = self.cursor
                async with aclosing(self._frames(http)) as frames:
                    async for frame in frames:
                        self._tell("")
                        self._take(frame)
                attempt = 0 if self.cursor != before else attempt + 1
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])

    async def _frames(self, http: aiohttp.ClientSession) -> AsyncGenerator[bytes, None]:
        """Connect once, give each frame until the connection is lost, and say why it was. Raises as `follow` does."""
        try:
            ws = await self._connect(http)
            async with ws:
                while (message := await ws.receive(timeout=SILENT_SECONDS)).type in FRAMES:
                    yield message.data
        except (aiohttp.ClientError, OSError) as error:
            self._tell(reason(error))
            return
        if ws.close_code == Close.UNAUTHORIZED:
            raise SignedOutError
        self._tell(closed(ws.close_code))

    async def _connect(self, http: aiohttp.ClientSession) -> "aiohttp.ClientWebSocketResponse[Any]":
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await http.ws_connect(
                    f"{self._url}/api/feedback/live",
                    params={} if self.cursor is None else {"since": str(self.cursor)},
                    headers={hdrs.AUTHORIZATION: f"Bearer {self._token}"},
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                    # A frame that is not UTF-8 is a bad frame, and no reason to close the connection.
                    decode_text=False,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise refusal(self._url, error) or error from None
        except UNUSABLE:
            raise no_url(self._url) from None

    def _take(self, frame: bytes) -> None:
        event = read(frame)
        cursor = position(event)
        if event.get("event") == "hello" and cursor is not None:
            # Without a cursor of ours the log begins here; else hello tells the cursor of the inbox, which is ahead of ours.
            self.cursor = cursor if self.cursor is None else self.cursor
            return
        self._write(line(event, shutil.get_terminal_size().columns, color=self._color))
        self.cursor = self.cursor if cursor is None else cursor

    def _tell(self, trouble: str) -> None:
        """Say what is wrong, or that all is well again: once, until that changes."""
        if trouble != self._trouble:
            self._say(f"{self._url} {trouble}; trying again" if trouble else f"{self._url} answers again")
            self._trouble = trouble


async def refuse_redirect(
    http: aiohttp.ClientSession, context: SimpleNamespace, found: aiohttp.TraceRequestRedirectParams
) -> None:
    """Raise `ConfigError` instead of following a redirect."""
    raise redirected(found.url, found.response)


def tail(url: str, since: int | None) -> None:
    """Follow the inbox of FW_TOKEN, or else of the account that is logged in, until interrupted.

    If no account is logged in, ask for a login. Raises `ConfigError`.
    """
    url, given = server_url(url), os.environ.get("FW_TOKEN", "").strip()
    if not can_be_sent(given):
        raise ConfigError("FW_TOKEN: has characters that no token has")
    token = given or kept_token(url)
    while True:
        token = token or log_in(url)
        follower = Tail(url, token, since, lambda text: print(text, flush=True), color=sys.stdout.isatty())
        try:
            asyncio.run(follower.follow())
        except SignedOutError:
            if given:
                raise ConfigError("FW_TOKEN is not, or no longer, valid") from None
            token_path(url).unlink(missing_ok=True)
            token, since = "", follower.cursor
