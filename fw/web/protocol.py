"""One connection: what it is given in time and bytes, and what becomes of requests that are no HTTP."""

import asyncio
import logging
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from fw.errors import BY_STATUS, Problem
from fw.web.envelope import reply_last
from fw.web.heads import KEPT_BYTES, least_size
from fw.web.progress import Progress
from fw.web.response import add_usual
from fw.web.trace import request_id
from fw.web.unfinished import Unfinished

log = logging.getLogger("fw.server")

HEAD_SECONDS: Final = 20.0
"""How long a connection may take to send its first request; one that sends it byte by byte would keep others out."""
LINGER_SECONDS: Final = 2.0
"""How long a connection stays open after a response if more of its request may come, so that the client can read it."""
REQUEST_BYTES: Final = 128 * 1024
"""After so much of one request no more is parsed. A body has 64 KiB; the rest is for heads and for the sizes of chunks."""
REQUEST_LINES: Final = 1200
"""About how many lines a request may have: 128 fields, and some 500 chunks with two each. A chunk takes as long as a kB."""
PIECE_BYTES: Final = 1024
PIECE_LINES: Final = 256
"""If more lines come at once, they are parsed in pieces."""


class ProblemHandler(RequestHandler):
    """Answers invalid HTTP with a problem too, and can close connections that are silent or stalled."""

    __slots__ = (
        "_answered",
        "_beside",
        "_body",
        "_is_cut",
        "_lines",
        "_lost",
        "_made_at",
        "_open",
        "_progress",
        "_received",
        "_unfinished",
        "head_size",
        "last",
    )

    def __init__(self, manager: web.Server, unfinished: Unfinished, **options: Any) -> None:
        super().__init__(manager, **options)
        self._unfinished = unfinished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._made_at = self._loop.time()
        self._progress = Progress(self._made_at)
        # That of a connection which is to be closed, and is still open.
        self._open: asyncio.Transport | None = None
        # How many bytes and lines of the request have come whose head or body is not complete, and that body.
        self._received = self._lines = 0
        self._body: StreamReader = EMPTY_PAYLOAD
        # The body of the last request that has been answered, of which more may come.
        self._answered: StreamReader = EMPTY_PAYLOAD
        self._is_cut = False
        # What handles the last request, if its body was coming when the connection was to be closed after it.
        self.last: asyncio.Task[None] | None = None
        # Is done when the connection is lost, if anybody waits for that.
        self._lost: asyncio.Future[None] | None = None
        # How many bytes of the request are not its body's, and how many were when its head had come.
        self._beside = self.head_size = 0

    def data_received(self, data: bytes) -> None:
        """Parse no more of what a client sends than honest ones need: each byte takes time, and each chunk of a body."""
        if self._is_cut:
            self._cut()
        elif (lines := data.count(b"\r\n")) <= PIECE_LINES:
            self._feed(data, lines)
        else:
            # Many requests at once, or small chunks: it is looked at between the pieces which of both.
            for start in range(0, len(data), PIECE_BYTES):
                piece = data[start : start + PIECE_BYTES]
                if not self._feed(piece, piece.count(b"\r\n")):
                    break

    def _feed(self, data: bytes, lines: int) -> bool:
        """Parse what has come. Returns whether more may be parsed."""
        if self._lines + lines > REQUEST_LINES and self._comes_in_chunks:
            self._refuse_body()
            return False
        size, count, received, is_at_work = len(data), self._request_count, self._received, self._request_in_progress
        body, body_size, was_whole = self._body, self._body.total_bytes, not received or self._body.is_eof()
        super().data_received(data)
        beside = size - body.total_bytes + body_size
        self._beside += beside
        if self._request_count != count:
            self._lines, self._body = 0, self._messages[-1][1]
            if self._body is EMPTY_PAYLOAD and self._refuse_invalid(body):
                return False
            if not received and not is_at_work and size <= PIECE_BYTES and self._body.is_eof():
                # One short request, or some, as most are: nothing of that has to be counted.
                self.head_size, self._beside = self._beside, 0
                return True
            self._begin(self._request_count - count)
        elif not was_whole and body.is_eof():
            self._end(beside)
        else:
            self._received += size
            self._lines += lines
            if self._received > REQUEST_BYTES:
                self._cut()
        if body.is_eof():
            self._note_whole(body)
        is_busy = is_at_work or bool(self._messages)
        if self._received or (is_busy and size > KEPT_BYTES) or (is_at_work and self._messages):
            self._unfinished.add(self, size, self._loop.time())
        elif received and not is_busy:
            # The rest of a body, after the answer.
            self._unfinished.discard(self)
        return not self._is_cut

    def _note_whole(self, body: StreamReader) -> None:
        """Go on as is due when a body is whole: close the connection, or drop what nobody will read."""
        if self.last is not None:
            super().close()
        if body is self._answered:
            # aiohttp looks whether it is whole before it drops what has come.
            drop_whole(body)

    def _refuse_invalid(self, body: StreamReader) -> bool:
        """Refuse what has come, and return True, if it is no HTTP: a new request, or more of the body of the one before."""
        message = self._messages[-1][0]
        if not isinstance(message, _ErrInfo):
            return False
        # Else it would hold what has come, and itself, until the collector runs.
        message.exc.__traceback__ = None
        # Nobody knows where the next request would begin.
        self._is_cut = True
        if not body.is_eof():
            # That request has one answer.
            self._messages.pop()
            self._body = body
            self._refuse_body()
        return True

    def _begin(self, count: int) -> None:
        """Note that so many heads have come. The last request may have more to come, or the next one may have begun."""
        self.head_size = self._beside - self._body.total_bytes
        if not self._body.is_eof():
            self._received, self._beside = 1, self.head_size
            return
        rest = 0
        if self._beside > KEPT_BYTES:
            rest = self._beside - sum(map(least_size, islice(reversed(self._messages), count)))
        self._received = self._beside = rest if rest > KEPT_BYTES else 0

    def _end(self, beside: int) -> None:
        """Note that a body is whole, whose last piece has so many bytes that are not the body's."""
        self._lines = 0
        # They are of the next head.
        self._received = self._beside = beside
        if self._comes_in_chunks:
            # Nothing may follow.
            self._cut()

    @property
    def _comes_in_chunks(self) -> bool:
        # Before any request that attribute is not even set.
        return self._body is not EMPTY_PAYLOAD and self._body._http_chunk_splits is not None

    def _refuse_body(self) -> None:
        """Have whoever reads the body fail, and wait for no more of it."""
        if self._body is self._answered:
            # aiohttp reads it, to drop it.
            self._body.feed_eof()
        else:
            # Not its end: whoever reads it, or is about to, would take it for whole.
            self._body.set_exception(web.RequestPayloadError("invalid chunks, or too many"))
            self._lingering_time = 0.0
        self._cut()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._unfinished.discard(self)
        for body in (self._body, *(body for _, body in self._messages)):
            if not body.is_eof():
                # Else what has come of it stays in memory, with the whole connection, until the collector runs.
                body._buffer.clear()
        super().connection_lost(exc)
        self._body = self._answered = EMPTY_PAYLOAD
        self._open = None
        if self._lost and not self._lost.done():
            self._lost.set_result(None)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume after a pause. aiohttp calls this for every body, and would have the parser run once more."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._upgraded and not self._messages:
            # The upgrade was declined. aiohttp would parse all that came behind it at once, and none of that would be counted.
            self._message_tail = b""
            self._cut()
        finished = await super().finish_response(request, resp, start_time)
        body = request._payload
        if self.transport is not None:
            # Else it would keep this handler, and be kept by it.
            self._answered = body
        if not resp.keep_alive and (self._is_cut or self._messages) and (body.is_eof() or body.exception()):
            await self._linger()
        return finished

    async def _linger(self) -> None:
        """Take what else comes, for a moment, so that the client can read its last answer: else the connection would be reset.

        aiohttp does so only if a body that it has parsed so far is not complete.
        """
        self._is_cut = True
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write_eof()
        transport.resume_reading()
        self._lost = self._loop.create_future()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._lost

    def _cut(self) -> None:
        """Drop what else comes. A request that is under way is answered first."""
        self._is_cut = True
        if self._waiter is not None and not self._messages:
            self.force_close()

    def drop(self) -> None:
        """Close the connection at once, parse no more of what comes until it is, and let go of the requests that wait."""
        self._is_cut = True
        while len(self._messages) > 1:
            # The first one may be about to have its turn.
            self._messages.pop()
        self.abort()

    def close(self) -> None:
        """Close the connection after the request that is under way, whose body may be still coming: aiohttp would drop that."""
        body = self._body
        is_over = body.is_eof() or body.exception() is not None or body is self._answered
        if is_over or self._is_cut or self._task_handler is None:
            super().close()
        else:
            self.last = self._task_handler

    def force_close(self) -> None:
        """Close the connection when the client has taken what waits for it, which may be never: it is still looked at."""
        self._open = self.transport or self._open
        super().force_close()

    def abort(self) -> None:
        """Close the connection at once."""
        if (transport := self.transport or self._open) is not None:
            transport.abort()

    def close_if_silent(self, now: float) -> None:
        """Close a connection whose first request does not come in time; between requests aiohttp does so itself."""
        is_first = self._current_request is None and not self._request_count
        if is_first and now - self._made_at > HEAD_SECONDS:
            self.force_close()
        elif self._is_cut:
            self._cut()

    @property
    def idle_until(self) -> float | None:
        """When the connection will be closed if no whole head comes; None if a request is under way."""
        is_idle = self._waiter is not None and not self._messages and self._body.is_eof()
        return self._next_keepalive_close_time if is_idle else None

    def close_if_dead(self) -> None:
        """Close a connection whose task has ended by an error: nobody else would."""
        if self.transport is not None and self._task_handler is not None and self._task_handler.done():
            self.abort()

    def close_if_stalled(self, now: float, seconds: float) -> int:
        """Close a connection whose client takes its response too slowly. Returns how much of that waits."""
        transport = self.transport or self._open
        if transport is None:
            return 0
        if self._progress.is_stalled(transport, self._current_request, now, seconds):
            self.abort()
        return transport.get_write_buffer_size()

    @property
    def taken_lately(self) -> int:
        """How much the client has taken of a response that waits, between the last two looks."""
        return self._progress.lately

    def log_access(self, request: web.BaseRequest, response: web.StreamResponse, time: float | None) -> None:
        """Log a request, and let go of it: the connection has it, and the response, until the next one comes."""
        super().log_access(request, response, time)
        if not self._received and not self._messages:
            self._unfinished.discard(self)
        request._state.clear()
        drop_whole(request._payload)
        if isinstance(response, web.Response):
            response._body = None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            # The client has left.
            raise exc
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun: no other one can be sent")
        if isinstance(exc, UnicodeEncodeError) and hdrs.EXPECT in request.headers:
            # At an unknown path aiohttp quotes the expectation, which may have bytes that are no text.
            status = 417
        if status == 500:
            log.error("request failed outside the application", exc_info=exc)
        response = reply_last(BY_STATUS.get(status, Problem)(), request)
        response.headers["X-Request-ID"] = request_id(request)
        add_usual(response)
        return response


def drop_whole(body: StreamReader) -> None:
    """Drop what has come of a body that is whole, and that nobody has read."""
    if body is not EMPTY_PAYLOAD and body._size and body.is_eof() and body.exception() is None:
        body.read_nowait()
