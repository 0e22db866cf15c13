"""Who waits for which inbox. A hint only says that an inbox moved; what moved is read from the table."""

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from time import time
from typing import Final, Self

from aiohttp import web

from fw.background import Background
from fw.database.pool import Database
from fw.errors import Problem, Unauthorized, Unavailable
from fw.inbox.feed import Feed, Reading
from fw.inbox.sockets import Close, Socket, as_frames

log = logging.getLogger("fw.hub")

AT_ONCE: Final = 100
"""Inboxes that one statement reads."""
RETRY_SECONDS: Final = 0.5
TEND_SECONDS: Final = 1.0
OBSERVED: Final = 1000
FROM_NOW: Final = 2**63 - 1
"""A cursor that no inbox has reached: a reading from there tells where the inbox stands."""


class Room:
    """The few sockets of one inbox: those that are live have been sent everything up to `cursor`."""

    __slots__ = ("cursor", "moves", "replay", "sockets")

    def __init__(self) -> None:
        # Of a handful, a list takes a tenth of a set's memory.
        self.sockets: list[Socket] = []
        self.cursor = 0
        self.moves = 0
        # One socket is read for at a time: all of them at once would keep everybody else waiting.
        self.replay = asyncio.Lock()

    @property
    def live(self) -> list[Socket]:
        return [socket for socket in self.sockets if socket.is_live]


class Hub:
    """Wakes those who wait for an inbox, and sends its live sockets what they have not seen.

    Watch, or join, first and read then: a change in between is not missed.
    """

    def __init__(self, database: Database, feed: Feed, background: Background) -> None:
        self._database = database
        self._feed = feed
        self._watches: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._rooms: dict[str, Room] = {}
        self._moved: set[str] = set()
        self._doubted: set[str] = set()
        self._work = asyncio.Event()
        self._tasks = (
            background.task("hub", self._pump),
            background.every("sockets", lambda: TEND_SECONDS, self._tend),
        )
        self.is_closed = False
        self.sockets = 0
        self.sent = 0
        self.closed: Counter[int] = Counter()
        """How often sockets were closed by the server, by the code."""
        self.lags: deque[float] = deque(maxlen=OBSERVED)
        """Seconds from a submission's arrival to its sockets, for whoever takes them out."""

    async def __aenter__(self) -> Self:
        for task in self._tasks:
            await task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            await task.__aexit__()

    async def follow(self, socket: Socket, seconds: float) -> None:
        """Keep a reader up to date, from its cursor on, until it leaves or its session is over in so many seconds."""
        self._join(socket)
        try:
            # The session may have ended between its check and now.
            self.doubt([socket.user_id])
            reason = await socket.run(self._catch_up, seconds)
            if reason:
                self.closed[reason] += 1
        finally:
            self._leave(socket)

    async def _catch_up(self, socket: Socket) -> Close | None:
        """Send a reader what it has missed, and let it go live without a gap; return why that cannot be, if it cannot."""
        if self.is_closed:
            return Close.RESTART
        try:
            await self._replay(socket)
        except Unauthorized:
            return Close.UNAUTHORIZED
        except Unavailable:
            return Close.RESTART
        return None

    async def _replay(self, socket: Socket) -> None:
        is_behind = True
        while is_behind:
            await socket.drain()
            room = self._rooms[socket.user_id]
            async with room.replay:
                moves = room.moves
                reading = await self._feed.read(socket.user_id, FROM_NOW if socket.cursor is None else socket.cursor)
                self.sent += socket.replay(reading)
            is_behind = reading.more or not self._go_live(socket, moves)
            # What has been written is not to be kept twice while the reader takes it.
            del reading

    @contextmanager
    def watch(self, user_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the inbox moves; the watcher clears it before it reads."""
        moved = asyncio.Event()
        self._watches[user_id].add(moved)
        try:
            yield moved
        finally:
            self._watches[user_id].discard(moved)
            if not self._watches[user_id]:
                del self._watches[user_id]

    def _join(self, socket: Socket) -> None:
        """Take a socket in, until it leaves; it is sent nothing before it goes live."""
        if socket.user_id not in self._rooms:
            self._rooms[socket.user_id] = Room()
        self._rooms[socket.user_id].sockets.append(socket)
        self.sockets += 1

    def _leave(self, socket: Socket) -> None:
        room = self._rooms[socket.user_id]
        room.sockets.remove(socket)
        self.sockets -= 1
        if not room.sockets:
            del self._rooms[socket.user_id]

    def _go_live(self, socket: Socket, moves: int) -> bool:
        """Send the socket from now on what comes after its cursor; False if it first has to catch up with the others.

        `moves` is how often the inbox was known to have moved before the reading that has brought the socket here.
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
        """Take the hint that these inboxes have moved."""
        for user_id in user_ids:
            for moved in self._watches.get(user_id, ()):
                moved.set()
            room = self._rooms.get(user_id)
            if room is not None:
                room.moves += 1
                self._moved.add(user_id)
                self._work.set()

    def doubt(self, user_ids: Iterable[str]) -> None:
        """Take the hint that sessions of these users have ended: those of their sockets are looked up, and watchers woken."""
        for user_id in user_ids:
            for moved in self._watches.get(user_id, ()):
                moved.set()
            if user_id in self._rooms:
                self._doubted.add(user_id)
                self._work.set()

    def wake_all(self) -> None:
        """Wake everybody, and doubt every session: hints may have been lost."""
        for watches in self._watches.values():
            for moved in watches:
                moved.set()
        self.wake(list(self._rooms))
        self.doubt(list(self._rooms))

    def close(self) -> None:
        """Let nobody wait any longer: the server is going. Sockets are told to come back, all at once."""
        self.is_closed = True
        for watches in self._watches.values():
            for moved in watches:
                moved.set()
        for room in self._rooms.values():
            for socket in room.sockets:
                socket.hurry(Close.RESTART)

    async def _pump(self) -> None:
        """Read what moved, many inboxes at once, and send it; what cannot be read now is read later."""
        # If this begins again after a failure, nobody knows what was under way.
        self.wake_all()
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                if self._doubted:
                    await self._close_dead()
                while self._moved:
                    await self._send()
            except Problem:
                log.warning("inboxes wait for the database", extra={"inboxes": len(self._moved)})
                await asyncio.sleep(RETRY_SECONDS)
                self._work.set()

    async def _tend(self) -> None:
        now = asyncio.get_running_loop().time()
        for room in list(self._rooms.values()):
            for socket in room.sockets:
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
            # Everybody left and somebody else came while the reading was under way: theirs is another one.
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
        # What is wrong with one reader must not become the others' fault; it comes back with its cursor.
        except Exception as error:  # noqa: BLE001
            log.warning("a reader could not be written to", extra={"reason": type(error).__name__})
            socket.close(Close.RESTART)

    async def _close_dead(self) -> None:
        doubted, self._doubted = self._doubted, set()
        sockets = [socket for user_id in doubted if (room := self._rooms.get(user_id)) for socket in room.sockets]
        try:
            rows = await self._database.rows(
                "sessions.dead_of", [socket.user_id for socket in sockets], [socket.session_id for socket in sockets]
            )
        except Problem:
            self._doubted |= doubted
            raise
        dead = {row["id"] for row in rows}
        for socket in sockets:
            if socket.session_id in dead:
                socket.close(Close.UNAUTHORIZED)


HUB: Final[web.AppKey[Hub]] = web.AppKey("hub")
