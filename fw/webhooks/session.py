"""What webhooks are sent with: connections to public addresses alone, each for one delivery, that take in only so much."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aiohttp import ClientSession, DummyCookieJar, TCPConnector, TraceConfig
from aiohttp.client_proto import ResponseHandler

from fw.webhooks.addresses import is_public
from fw.webhooks.resolver import AddressInfo, NotPublic, Resolver

CONNECTION_BYTES: Final = 256 * 1024
"""How much may come on a connection: more than the head and the part of the body that is read."""


class BoundedHandler(ResponseHandler):
    """Closes its connection once too much has come: aiohttp skips and keeps any number of interim answers (RFC 9110, 15.2)."""

    _received = 0

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if self._received > CONNECTION_BYTES and self.transport:
            # Not by its own `abort`, which tells nobody that the connection is lost.
            self.transport.abort()


class Connector(TCPConnector):
    """Makes connections that are bounded so."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        make: Callable[..., ResponseHandler] = BoundedHandler
        self._factory = partial(make, asyncio.get_running_loop())


def open_session(context: Any, allow_private: bool, agent: str, *traces: TraceConfig) -> ClientSession:
    """Open what webhooks are sent with: no proxy of the environment, no cookies, no connection that is used twice."""

    def make_socket(info: AddressInfo) -> socket.socket:
        # The last word, also for addresses that need no look-up: every connection begins here.
        if not allow_private and not is_public(str(info[4][0])):
            raise NotPublic(str(info[4][0]))
        return socket.socket(info[0], info[1], info[2])

    connector = Connector(
        resolver=Resolver(allow_private),
        use_dns_cache=False,
        force_close=True,
        limit=0,
        ssl=context,
        socket_factory=make_socket,
    )
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        trace_configs=list(traces),
        headers={"User-Agent": agent, "Accept-Encoding": "identity", "Content-Type": "application/json"},
    )
