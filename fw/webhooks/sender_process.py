"""The process that sends webhooks. Over a socket it is told what to send where, and tells how each attempt ended."""

import argparse
import asyncio
import os
import socket
import ssl
import threading
import time
from asyncio import sslproto
from contextlib import suppress
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, Final, NoReturn, cast

import orjson
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TraceConfig
from yarl import URL

from fw import __version__
from fw.webhooks.outcome import TOO_SLOW_TLS, answered, failed
from fw.webhooks.sender import STOOD_STILL
from fw.webhooks.session import open_session

ANSWER_BYTES: Final = 64 * 1024
"""How much of an answer is read. It says nothing that is used, but a sender that stops reading is an error to some servers."""
LINE_BYTES: Final = 1024 * 1024
"""The longest line: a message of 5,000 characters and metadata of 4 KiB are some 30 KiB as JSON."""
TICK_SECONDS: Final = 0.1
STILL_SECONDS: Final = 1.5
"""How much of a processor's time may pass in one round of the event loop: an honest handshake takes some milliseconds."""
TLS_BYTES: Final = 512 * 1024
"""How much may come on a connection with TLS, handshake included. OpenSSL skips any number of some messages."""
COSTLY_SECONDS: Final = 0.02
ROUND_SECONDS: Final = 0.05
"""How much TLS may take in one round of the event loop, before what else has come waits for the next one: receivers can answer
many attempts at the same moment, and these together must not look as if one stood still."""
MOST_SECONDS: Final = 0.1
"""How much of a processor's time TLS may take in an attempt; an honest receiver's takes some milliseconds."""
NICENESS: Final = 5


class Meter:
    """How much of a processor's time TLS has taken in an attempt."""

    running: "Meter | None" = None
    """That of the attempt which OpenSSL works on just now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seconds = 0.0


METER: Final[ContextVar[Meter]] = ContextVar("meter")


class BoundedTls(sslproto.SSLProtocol):
    """Closes its connection once too much has come, or has taken too long to look at."""

    # Of asyncio's class, and not in its types.
    _incoming: ssl.MemoryBIO
    _ssl_buffer_view: memoryview

    round_seconds = 0.0
    """How much TLS has taken in this round of the event loop, for all connections."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._received = 0
        self._meter = METER.get()

    def buffer_updated(self, nbytes: int) -> None:
        self._received += nbytes
        if self._received > TLS_BYTES:
            self._cut_off()
        else:
            # Once it is there nobody else writes over it.
            self._incoming.write(self._ssl_buffer_view[:nbytes])
            self._look()

    def _look(self) -> None:
        """Look at what has come, in this round of the event loop or in a later one."""
        if BoundedTls.round_seconds >= ROUND_SECONDS:
            self._loop.call_soon(self._look)
            return
        if not BoundedTls.round_seconds:
            self._loop.call_soon(BoundedTls._begin_round)
        begun, Meter.running = time.thread_time(), self._meter
        super().buffer_updated(0)
        taken, Meter.running = time.thread_time() - begun, None
        BoundedTls.round_seconds += taken
        self._meter.seconds += taken
        if self._meter.seconds > MOST_SECONDS:
            self._cut_off()

    @staticmethod
    def _begin_round() -> None:
        BoundedTls.round_seconds = 0.0

    def _cut_off(self) -> None:
        if self._transport is not None:
            cast(asyncio.Transport, self._transport).abort()


class Watch:
    """Ends the process if its event loop stands still, and tells over what: OpenSSL lets other threads run meanwhile."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ticked_at = time.process_time()
        self.meters: set[Meter] = set()
        """Those of the attempts that are under way."""

    async def tick(self, writer: asyncio.StreamWriter) -> NoReturn:
        told_at = time.monotonic()
        while True:
            self._ticked_at = time.process_time()
            if time.monotonic() - told_at > 1:
                told_at = time.monotonic()
                tell(writer, 0)
            await asyncio.sleep(TICK_SECONDS)

    def look(self) -> NoReturn:
        while True:
            time.sleep(TICK_SECONDS)
            if time.process_time() - self._ticked_at > STILL_SECONDS:
                self._accuse()
                os._exit(STOOD_STILL)

    def _accuse(self) -> None:
        costly = {meter.number for meter in tuple(self.meters) if meter.seconds > MOST_SECONDS}
        if running := Meter.running:
            costly.add(running.number)
        with suppress(OSError):
            # A line of its own, whatever the event loop has written of the last one.
            os.write(self._descriptor, b"\n" + orjson.dumps({"stood_still_over": sorted(costly)}) + b"\n")


def tell(writer: asyncio.StreamWriter, number: int, **more: Any) -> None:
    writer.write(orjson.dumps({"number": number, **more}, option=orjson.OPT_APPEND_NEWLINE))


def tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    # No group that a receiver chooses may take long. Every server of TLS 1.3 has this curve (RFC 8446, 9.1); a Diffie-Hellman
    # group of 10,000 bits takes 0.9 s.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_ecdh_curve("prime256v1")
    context.set_alpn_protocols(["http/1.1"])
    # A second handshake would come after the attempt has been told as connected.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


async def attempt(session: ClientSession, asked: dict[str, Any], writer: asyncio.StreamWriter, watch: Watch) -> None:
    """Make an attempt, and tell how it ended."""
    meter = Meter(asked["number"])
    METER.set(meter)
    watch.meters.add(meter)
    try:
        async with session.post(
            URL(asked["url"], encoded=True),
            data=asked["body"].encode(),
            headers=asked["headers"],
            allow_redirects=False,
            timeout=ClientTimeout(total=asked["seconds"]),
            trace_request_ctx=asked["number"],
        ) as answer:
            await drain(answer)
            outcome = answered(answer.status)
    except (ClientError, OSError, ValueError) as error:
        outcome = failed(error)
    if meter.seconds > MOST_SECONDS:
        outcome = TOO_SLOW_TLS
    elif meter.seconds > COSTLY_SECONDS:
        outcome = outcome._replace(is_costly=True)
    tell(writer, asked["number"], **outcome._asdict())
    watch.meters.discard(meter)


async def drain(answer: ClientResponse) -> None:
    """Read some of an answer. Its status has come: whatever happens from here on does not change what it says."""
    try:
        left = ANSWER_BYTES
        while left > 0 and (chunk := await answer.content.read(left)):
            left -= len(chunk)
    except (ClientError, OSError):
        pass
    finally:
        answer.close()


async def serve(sock: socket.socket, *, allow_private: bool) -> None:
    """Do what comes over the socket, until its other end is closed."""
    reader, writer = await asyncio.open_unix_connection(sock=sock, limit=LINE_BYTES)
    connections = TraceConfig()

    async def note_connection(_: ClientSession, context: SimpleNamespace, __: object) -> None:
        tell(writer, context.trace_request_ctx)

    connections.on_connection_create_end.append(note_connection)
    watch, attempts = Watch(sock.fileno()), set[asyncio.Task[None]]()
    agent = f"FeedbackWave/{__version__}"
    async with open_session(tls_context(), allow_private, agent, connections) as session:
        ticking = asyncio.create_task(watch.tick(writer))
        threading.Thread(target=watch.look, daemon=True).start()
        while line := await reader.readline():
            task = asyncio.create_task(attempt(session, orjson.loads(line), writer, watch))
            attempts.add(task)
            task.add_done_callback(attempts.discard)
        ticking.cancel()
        # Nobody is left to be told.
        os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=int)
    parser.add_argument("--allow-private", action="store_true")
    options = parser.parse_args()
    os.nice(NICENESS)
    # The event loop has no other way to be given one's own.
    sslproto.SSLProtocol = BoundedTls  # type: ignore[misc]
    asyncio.run(serve(socket.socket(fileno=options.socket), allow_private=options.allow_private))


if __name__ == "__main__":
    main()
