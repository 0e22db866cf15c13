"""Knows which readers wait for which inbox. A hint only says that an inbox has moved; the changes are read from the table."""

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from time import time
from typing import Any, Final, Self

from aiohttp import web

from fw.accounts.tokens import Caller
from fw.background import Background
from fw.database.listener import Demand
from fw.database.pool import Database
from fw.database.rotation import ASKER, Kind
from fw.errors import Problem, Unauthorized, Unavailable
from fw.inbox.ended import EndedSessions
from fw.inbox.feed import Feed, Reading
from fw.inbox.readers import Readers
from fw.inbox.room import Room
from fw.inbox.sockets import Socket
from fw.inbox.websocket import CLOSE_SECONDS, Close

log = logging.getLogger("fw.hub")

AT_ONCE: Final = 100
"""How many inboxes one statement reads."""
RETRY_SECONDS: Final = 0.5
TEND_SECONDS: Final = 1.0
OBSERVED: Final = 1000
FROM_NOW: Final = 2**63 - 1
"""A cursor that no inbox reaches: a reading from there has no events, and tells the inbox's own cursor."""


class Hub:
    """Wakes the long polls that wait for an inbox, and sends its live sockets what they have not seen.

    A reader watches, or joins, before it reads, so a change in between is not missed.
    """

    def __init__(self, database: Database, feed: Feed, readers: Readers, demand: Demand, background: Background) -> None:
        self._database = database
        self._feed = feed
        self._readers = readers
        self._demand = demand
        self._watches: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._rooms: dict[str, Room] = {}
        # A dict and not a set: first come, first served, and those whose reading failed come last.
        self._moved: dict[str, None] = {}
        self._at_once = AT_ONCE
        self._open: set[Socket] = set()
        # Those that read for one socket, or for one inbox.
        self._reading: set[asyncio.Task[None]] = set()
        self._all_left = asyncio.Event()
        self._work = asyncio.Event()
        self._ended = EndedSessions(database, self._sockets_of, background)
        self._parts = (
            self._ended,
            background.task("hub", self._pump),
            background.every("sockets", lambda: TEND_SECONDS, self._tend),
        )
        self.is_closed = False
        self.sockets = 0
        self.sent = 0
        self.closed: Counter[int] = Counter()
        """How many sockets the server has closed, by close code."""
        self.lags: deque[float] = deque(maxlen=OBSERVED)
        """Seconds from a submission's arrival to its sockets; the metrics take them out."""

    async def __aenter__(self) -> Self:
        for part in self._parts:
            await part.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait a while for the sockets to leave, which `close` has told to; cut those that do not."""
        self.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS + 1):
                while self._open:
                    self._all_left.clear()
                    await self._all_left.wait()
        for socket in self._open:
            socket.abort()
        for reading in self._reading:
            reading.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        for part in self._parts:
            await part.__aexit__()

    def make_socket(self, since: int | None) -> Socket:
        """Make a socket, for a reader at a cursor; the next thing is to give it a connection, then `welcome`."""
        return Socket(since, self._forget)

    def welcome(self, socket: Socket) -> None:
        """Take in a socket that has its connection now."""
        self._open.add(socket)
        if self.is_closed:
            socket.close(Close.RESTART)

    def follow(self, socket: Socket, caller: Caller) -> None:
        """Send a caller every change after the socket's cursor, until either side closes it or the session ends.

        The caller has a reader's place for it, which is given back then.
        """
        if socket not in self._open:
            # The reader has left already.
            self._readers.give_back(caller.user_id)
            return
        socket.caller = caller
        self._join(socket)
        # The session may have ended between its check and now.
        self.check_sessions([caller.user_id])
        self._start_catching_up(socket)

    def _forget(self, socket: Socket) -> None:
        """Called once a socket's connection is gone."""
        self._open.discard(socket)
        if not self._open:
            self._all_left.set()
        if socket.caller is not None:
            self._leave(socket)
            self._readers.give_back(socket.user_id)
            if socket.code is not None:
                self.closed[socket.code] += 1

    def _start_catching_up(self, socket: Socket) -> None:
        self._start(self._catch_up(socket))

    def _start(self, reading: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(reading)
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _catch_up(self, socket: Socket) -> None:
        """Send a reader what it has missed, and make it live without a gap."""
        ASKER.set(lambda: (Kind.SIGNED_IN, socket.user_id))
        try:
            await self._replay(socket)
        except Unauthorized:
            socket.close(Close.UNAUTHORIZED)
        except Unavailable:
            socket.close(Close.RESTART)
        except ConnectionError:
            # The socket has ended meanwhile.
            pass
        except Exception:
            log.exception("live channel failed")
            socket.close(Close.FAILED)

    async def _replay(self, socket: Socket) -> None:
        """Write to a reader until it is live. Raises `ConnectionError` if it has left."""
        is_behind = True
        while is_behind:
            await socket.drain()
            room = self._rooms[socket.user_id]
            async with room.replay:
                moves = room.moves
                reading = await self._feed.read(socket.user_id, FROM_NOW if socket.cursor is None else socket.cursor)
                if socket.is_over:
                    return
                self.sent += socket.replay(reading)
            is_behind = reading.more or not self._go_live(socket, moves)
            # Else its rows stay in memory beside the frames written from them while the reader takes those.
            del reading

    @contextmanager
    def watch(self, user_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the inbox moves. Clear it before reading."""
        moved = asyncio.Event()
        self._watches[user_id].add(moved)
        self._demand.come()
        try:
            yield moved
        finally:
            self._demand.leave()
            self._watches[user_id].discard(moved)
            if not self._watches[user_id]:
                del self._watches[user_id]

    def _join(self, socket: Socket) -> None:
        """Add a socket; `wake` sends it nothing before it goes live."""
        if socket.user_id not in self._rooms:
            self._rooms[socket.user_id] = Room()
        self._rooms[socket.user_id].sockets.append(socket)
        self.sockets += 1
        self._demand.come()

    def _leave(self, socket: Socket) -> None:
        room = self._rooms[socket.user_id]
        room.sockets.remove(socket)
        self.sockets -= 1
        self._demand.leave()
        if not room.sockets:
            del self._rooms[socket.user_id]

    def _go_live(self, socket: Socket, moves: int) -> bool:
        """Make a socket live, unless it has to catch up with others. `moves` is that of its room before its last reading."""
        room = self._rooms[socket.user_id]
        if not room.go_live(socket):
            return False
        if room.moves != moves:
            self.wake([socket.user_id])
        return True

    def _sockets_of(self, user_id: str) -> Sequence[Socket]:
        room = self._rooms.get(user_id)
        return room.sockets if room else ()

    def wake(self, user_ids: Iterable[str]) -> None:
        """Have the changes of these inboxes read and sent: a hint says that they have moved."""
        for user_id in user_ids:
            self._wake_watchers(user_id)
            room = self._rooms.get(user_id)
            if room is not None:
                room.moves += 1
                self._moved[user_id] = None
                self._work.set()

    def check_sessions(self, user_ids: Iterable[str]) -> None:
        """Have the sessions of these users looked up: a hint says that some have ended. Watchers wake and look up theirs."""
        for user_id in user_ids:
            self._wake_watchers(user_id)
            if user_id in self._rooms:
                self._ended.check([user_id])

    def wake_all(self) -> None:
        """Wake every reader and look up every session: hints may have been lost."""
        everyone = self._watches.keys() | self._rooms.keys()
        self.wake(everyone)
        self.check_sessions(everyone)

    def close(self) -> None:
        """End all waits, since the server is stopping. Sockets are closed with a code that has clients connect again."""
        self.is_closed = True
        for user_id in self._watches:
            self._wake_watchers(user_id)
        for socket in list(self._open):
            socket.hurry(Close.RESTART)

    def _wake_watchers(self, user_id: str) -> None:
        for moved in self._watches.get(user_id, ()):
            moved.set()

    async def _pump(self) -> None:
        """Read and send the changes of inboxes that have moved, many inboxes at once; a read that fails is tried again."""
        # After a failure it is not known what was read but not sent.
        self.wake_all()
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                while self._moved:
                    await self._send()
            except Problem:
                log.warning("inboxes wait for the database", extra={"inboxes": len(self._moved)})
                await asyncio.sleep(RETRY_SECONDS)
                self._work.set()

    async def _tend(self) -> None:
        now = asyncio.get_running_loop().time()
        for socket in list(self._open):
            socket.tend(now)

    async def _send(self) -> None:
        batch = list(islice(self._moved, self._at_once))
        for user_id in batch:
            del self._moved[user_id]
        since = {
            user_id: room.cursor
            for user_id in batch
            if (room := self._rooms.get(user_id)) and room.live and not room.is_reading_on
        }
        if not since:
            return
        try:
            readings = await self._feed.read_many(since)
        except Problem as problem:
            if len(since) == 1 and not isinstance(problem, Unavailable):
                # What this inbox has cannot be read: the others are not to wait for it again and again.
                for user_id in since:
                    self._end_all(user_id)
                return
            # Together they may have taken too long.
            self._at_once = max(1, len(since) // 2)
            self._moved.update(dict.fromkeys(since))
            raise
        self._at_once = min(AT_ONCE, 2 * self._at_once)
        for reading in readings:
            room = self._rooms.get(reading.user_id)
            if room is not None and self._deliver(room, reading):
                room.is_reading_on = True
                self._start(self._read_on(reading.user_id, room))

    def _end_all(self, user_id: str) -> None:
        for socket in list(self._sockets_of(user_id)):
            socket.close(Close.FAILED)

    def _deliver(self, room: Room, reading: Reading) -> bool:
        """Write a reading to the live sockets of its inbox. Returns whether there is more for them."""
        if room.cursor != reading.since:
            # All sockets left while this was read, and others came, which stand at another cursor.
            self.wake([reading.user_id])
            return False
        if reading.is_lost or reading.rows:
            self.sent += len(room.live) * max(1, len(reading.rows))
            if reading.rows and reading.rows[0]["created_cursor"] > reading.since:
                self.lags.append(time() - reading.rows[0]["created_at"].timestamp())
        for socket in room.deliver(reading):
            self._start_catching_up(socket)
        return reading.more

    async def _read_on(self, user_id: str, room: Room) -> None:
        """Read and send what one reading of an inbox did not hold, on behalf of its user: the others do not wait for it."""
        ASKER.set(lambda: (Kind.SIGNED_IN, user_id))
        moves, is_behind = -1, True
        try:
            while is_behind and room.live:
                moves = room.moves
                is_behind = self._deliver(room, await self._feed.read(user_id, room.cursor))
        except Problem:
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            room.is_reading_on = False
            # The reading failed, or the inbox has moved meanwhile.
            if (is_behind or room.moves != moves) and self._rooms.get(user_id) is room:
                self.wake([user_id])


HUB: Final[web.AppKey[Hub]] = web.AppKey("hub")
