"""Listens to the bus: one supervised subscription, which hands each hint to the function for its channel."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final, Self

from aiohttp import web

from fw.background import Background
from fw.database.bus import Bus, Lost, Subscription
from fw.database.teller import EVERYBODY

log = logging.getLogger("fw.listener")

PROBE_SECONDS: Final = 5.0
"""How often the connection is probed, and how long it may take to answer: a silent one is given up after 10 s."""
SWEEP_SECONDS: Final = 30.0
"""How often all readers are woken without a hint, in case one was lost."""
AWAY_SECONDS: Final = 5.0
"""The same while there is no connection that hints could come by."""
UNHEARD_SECONDS: Final = 60.0
"""How long after the last reader has left the hints about inboxes still come."""
RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)


class Demand:
    """Counts the readers of a process: without any, it need not hear of every batch that is written to an inbox."""

    def __init__(self) -> None:
        self.readers = 0
        self.stir = asyncio.Event()
        """Set if there is something to look at: the first reader has come, or the connection is lost."""

    def come(self) -> None:
        self.readers += 1
        if self.readers == 1:
            self.stir.set()

    def leave(self) -> None:
        self.readers -= 1


class Listener:
    """Listens to the bus, and connects again whenever the connection is lost.

    Hints about inboxes are asked for as long as there are readers.
    """

    def __init__(
        self,
        bus: Bus,
        hear: Mapping[str, Callable[[list[str]], None]],
        refresh: Callable[[], None],
        demand: Demand,
        background: Background,
    ) -> None:
        """`hear` maps channels to functions that take the user ids of a hint; `refresh` is called if hints may be lost."""
        self._bus = bus
        self._hear_by_channel = hear
        self._refresh = refresh
        self._demand = demand
        self._task = background.task("listener", self._listen_for_ever)
        self.is_listening = False
        self.hears_of_inboxes = False
        self.losses = 0

    async def __aenter__(self) -> Self:
        await self._task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._task.__aexit__()

    async def _listen_for_ever(self) -> None:
        attempt = 0
        clock = asyncio.get_running_loop().time
        swept = clock()
        while True:
            try:
                async with self._bus.subscribe(self._hear, self._demand.stir.set) as subscription:
                    attempt = 0
                    self.is_listening = True
                    log.info("listening")
                    # Hints were lost while there was no connection.
                    self._refresh()
                    await self._watch(subscription)
            except (Lost, TimeoutError) as error:
                self.losses += 1
                log.warning("listener lost", extra={"reason": str(error) or type(error).__name__})
            finally:
                self.is_listening = self.hears_of_inboxes = False
            if clock() - swept >= AWAY_SECONDS:
                swept = clock()
                self._refresh()
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    async def _watch(self, subscription: Subscription) -> None:
        """Raises `Lost` or `TimeoutError` when the connection is closed, or silent for too long."""
        clock = asyncio.get_running_loop().time
        swept = read = clock()
        while True:
            if subscription.is_lost:
                raise Lost("closed")
            if self._demand.readers:
                read = clock()
            async with asyncio.timeout(PROBE_SECONDS):
                if self._demand.readers and not self.hears_of_inboxes:
                    await subscription.hear_of_inboxes(is_wanted=True)
                    self.hears_of_inboxes = True
                    # Readers that came before may have missed a hint.
                    self._refresh()
                elif self.hears_of_inboxes and clock() - read >= UNHEARD_SECONDS:
                    self.hears_of_inboxes = False
                    await subscription.hear_of_inboxes(is_wanted=False)
                else:
                    await subscription.probe()
            if clock() - swept >= SWEEP_SECONDS:
                swept = clock()
                self._refresh()
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._demand.stir.wait()
            self._demand.stir.clear()

    def _hear(self, channel: str, user_ids: list[str]) -> None:
        if EVERYBODY in user_ids:
            self._refresh()
        else:
            self._hear_by_channel[channel](user_ids)


LISTENER: Final[web.AppKey[Listener]] = web.AppKey("listener")
