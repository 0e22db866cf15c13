"""Knows which readers wait for which inbox. A hint only says that an inbox has moved; the changes are read from the table."""

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from time import time
from typing import Final, Self

from aiohttp import web

from fw.accounts.tokens import Caller
from fw.background import Background
from fw.database.listener import Demand
from fw.database.pool import Database
from fw.database.rotation import ASKER, Kind
from fw.errors import Problem, Unauthorized, Unavailable
from fw.inbox.feed import Feed, Reading
from fw.inbox.frames import as_frames
from fw.inbox.readers import Readers
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


class Room:
    """The sockets of one inbox. Those that are live have been sent everything up to `cursor`."""

    __slots__ = ("cursor", "moves", "replay", "sockets")

    def __init__(self) -> None:
        # There are few: a list takes a tenth of a set's memory.
        self.sockets: list[Socket] = []
        self.cursor = 0
        self.moves = 0
        # Sockets catch up one at a time: the reads of all of them at once would make everybody else wait.
        self.replay = asyncio.Lock()

    @property
    def live(self) -> list[Socket]:
        return [socket for socket in self.sockets if socket.is_live]


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
        self._moved: set[str] = set()
        self._to_check: set[str] = set()
        self._open: set[Socket] = set()
        self._catching_up: set[asyncio.Task[None]] = set()
        self._all_left = asyncio.Event()
        self._work = asyncio.Event()
        self._tasks = (
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
        for task in self._tasks:
            await task.__aenter__()
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
        for catching_up in self._catching_up:
            catching_up.cancel()
        await asyncio.gather(*self._catching_up, return_exceptions=True)
        for task in self._tasks:
            await task.__aexit__()

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
        task = asyncio.create_task(self._catch_up(socket), name="catch up")
        self._catching_up.add(task)
        task.add_done_callback(self._catching_up.discard)

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
        """Make a socket live. Returns False if it first has to catch up with the live sockets of its inbox.

        `moves` is how often the inbox had moved, as far as was known, before the reading that the socket was last sent.
        """
        room = self._rooms[socket.user_id]
        cursor = socket.cursor or 0
        others = room.live
        if others and cursor < room.cursor:
            return False
        if not others:
            room.cursor = cursor
        socket.is_live = True
        if room.moves != moves:
            self.wake([socket.user_id])
        return True

    def wake(self, user_ids: Iterable[str]) -> None:
        """Have the changes of these inboxes read and sent: a hint says that they have moved."""
        for user_id in user_ids:
            self._wake_watchers(user_id)
            room = self._rooms.get(user_id)
            if room is not None:
                room.moves += 1
                self._moved.add(user_id)
                self._work.set()

    def check_sessions(self, user_ids: Iterable[str]) -> None:
        """Have the sessions of these users looked up: a hint says that some have ended. Watchers wake and look up theirs."""
        for user_id in user_ids:
            self._wake_watchers(user_id)
            if user_id in self._rooms:
                self._to_check.add(user_id)
                self._work.set()

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
                if self._to_check:
                    await self._close_ended()
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
        batch = list(islice(self._moved, AT_ONCE))
        self._moved.difference_update(batch)
        since = {user_id: room.cursor for user_id in batch if (room := self._rooms.get(user_id)) and room.live}
        if not since:
            return
        try:
            readings = await self._feed.read_many(since)
        except Problem:
            self._moved.update(since)
            raise
        for reading in readings:
            room = self._rooms.get(reading.user_id)
            if room is not None:
                self._deliver(room, reading)

    def _deliver(self, room: Room, reading: Reading) -> None:
        if room.cursor != reading.since:
            # All sockets left while this was read, and others came, which stand at another cursor.
            self.wake([reading.user_id])
            return
        if reading.is_lost or reading.rows:
            frames = as_frames(reading.events())
            live = room.live
            for socket in live:
                self._deliver_to(socket, reading, frames)
            self.sent += len(live) * max(1, len(reading.rows))
            if reading.rows and reading.rows[0]["created_cursor"] > reading.since:
                self.lags.append(time() - reading.rows[0]["created_at"].timestamp())
        room.cursor = reading.cursor
        if reading.more:
            self.wake([reading.user_id])

    def _deliver_to(self, socket: Socket, reading: Reading, frames: bytes) -> None:
        try:
            socket.deliver(reading, frames)
            if not socket.is_live:
                self._start_catching_up(socket)
        # A fault of one reader must not stop the others; it can connect again with its cursor.
        except Exception as error:  # noqa: BLE001
            log.warning("a reader could not be written to", extra={"reason": type(error).__name__})
            socket.abort()

    async def _close_ended(self) -> None:
        to_check, self._to_check = self._to_check, set()
        sockets = [socket for user_id in to_check if (room := self._rooms.get(user_id)) for socket in room.sockets]
        try:
            rows = await self._database.rows(
                "sessions.live_of", [socket.user_id for socket in sockets], [socket.session_id for socket in sockets]
            )
        except Problem:
            self._to_check |= to_check
            raise
        live = {row["id"] for row in rows}
        for socket in sockets:
            if socket.session_id not in live:
                socket.close(Close.UNAUTHORIZED)


HUB: Final[web.AppKey[Hub]] = web.AppKey("hub")
