"""Metrics for Prometheus, of all processes of a start together."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from fw.accounts.passwords import Passwords
from fw.background import Background
from fw.database.listener import Listener
from fw.database.pool import Database
from fw.inbox.hub import Hub
from fw.inbox.intake import Intake
from fw.inbox.newcomers import Newcomers
from fw.outbox.worker import Outbox
from fw.telemetry.logs import Request
from fw.telemetry.shared_text import SharedText
from fw.web.limits import Limits
from fw.web.turns import Turns

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which processes combine their numbers (prometheus_client)."""
DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
NOT_ALLOWED: Final = 405
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Metrics:
    """Reads what the parts have counted a few times a second, so that counting costs the parts little."""

    def __init__(
        self,
        database: Database,
        intake: Intake,
        hub: Hub,
        listener: Listener,
        passwords: Passwords,
        limits: Limits,
        newcomers: Newcomers,
        background: Background,
        turns: Sequence[Turns],
        outbox: Outbox,
    ) -> None:
        self._texts = SharedText(self._text)
        self._database, self._intake, self._hub = database, intake, hub
        self._newcomers, self._background, self._turns, self._outbox = newcomers, background, turns, outbox
        self._listener, self._passwords, self._limits = listener, passwords, limits
        # Else each metric gets a second series with the time of its beginning, which nobody needs here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._seen: dict[tuple[str, ...], float] = {}
        self._children: dict[tuple[str, str, int], Any] = {}
        self._requests = self._histogram(
            "fw_http_request_duration_seconds", "Requests by route, method and status.", DURATIONS, "route", "method", "status"
        )
        self._batches = self._histogram("fw_intake_batch_rows", "Submissions in a batch.", SIZES)
        self._commits = self._histogram("fw_intake_commit_seconds", "Writing a batch, up to its commit.", DURATIONS)
        self._lags = self._histogram("fw_live_delivery_lag_seconds", "From a submission's arrival to its sockets.", DURATIONS)
        self._waiting = self._gauge("fw_intake_queue_rows", "Submissions that wait for a batch.")
        self._sockets = self._gauge("fw_live_sockets", "Live sockets that are open.")
        self._unnamed = self._gauge("fw_live_unauthenticated_sockets", "Live sockets that have not sent a token yet.")
        self._size = self._gauge("fw_pool_connections", "Connections to the database.")
        self._in_use = self._gauge("fw_pool_in_use", "Connections that are in use.")
        self._hashes = self._gauge("fw_bcrypt_queue", "Password hashes that wait for a thread.")
        self._sent = self._counter("fw_live_events_sent", "Events written to live sockets.")
        self._closed = self._counter("fw_live_closed", "Live sockets closed by the server, by code; 4408: too slow.", "code")
        self._reconnects = self._counter("fw_listener_reconnects", "Times that the listener lost its connection.")
        self._waits = self._counter("fw_pool_waits", "Times that a connection had to be waited for.")
        self._refused = self._counter("fw_limits_refused", "Requests refused by a limit.", "limit")
        self._failures = self._counter("fw_background_failures", "Times that a task in the background failed.", "task")
        self._stopped = self._gauge("fw_background_stopped", "Tasks in the background that do not run.")
        self._jobs = self._gauge("fw_outbox_jobs_waiting", "Jobs of the outbox that wait.", "kind", mode="livemax")
        self._oldest = self._gauge("fw_outbox_oldest_seconds", "For how long the oldest job is due.", "kind", mode="livemax")
        self._done = self._counter("fw_outbox_done", "Jobs of the outbox that were done.", "kind")
        self._failed = self._counter("fw_outbox_failed", "Attempts at jobs that failed, or had no use.", "kind", "reason")

    def _histogram(self, name: str, about: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(name, about, labels, buckets=tuple(buckets), registry=self._registry)

    def _gauge(self, name: str, about: str, *labels: str, mode: Literal["livesum", "livemax"] = "livesum") -> Gauge:
        # What each process sees as a whole, like the outbox, is not added up.
        return Gauge(name, about, labels, registry=self._registry, multiprocess_mode=mode)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self._registry)

    def observe(self, requests: Iterable[Request]) -> None:
        """Count answered requests."""
        for request in requests:
            key = (request.route, request.method, request.status)
            child = self._children.get(key)
            if child is None:
                # Clients may send any word as the method, and each would be a series of its own.
                is_usual = request.method in METHODS and request.status != NOT_ALLOWED
                method = request.method if is_usual else "other"
                if len(self._children) > 10_000:
                    self._children.clear()
                child = self._children[key] = self._requests.labels(request.route, method, str(request.status))
            child.observe(request.seconds)

    def refresh(self) -> None:
        """Read what the parts have counted since the last time."""
        while self._intake.commits:
            rows, seconds = self._intake.commits.popleft()
            self._batches.observe(rows)
            self._commits.observe(seconds)
        while self._hub.lags:
            self._lags.observe(self._hub.lags.popleft())
        self._waiting.set(self._intake.waiting)
        self._sockets.set(self._hub.sockets)
        self._unnamed.set(self._newcomers.count)
        self._stopped.set(len(self._background.stopped))
        self._size.set(self._database.size)
        self._in_use.set(self._database.in_use)
        self._hashes.set(self._passwords.waiting)
        self._grow(self._sent, self._hub.sent, "sent")
        self._grow(self._reconnects, self._listener.losses, "reconnects")
        self._grow(self._waits, self._database.waits, "waits")
        for code, count in self._hub.closed.items():
            self._grow(self._closed.labels(str(code)), count, "closed", str(code))
        for task in self._background.tasks:
            self._grow(self._failures.labels(task.name), task.failures, "failures", task.name)
        for name, count in self._limits.refused.items():
            self._grow(self._refused.labels(name), count, "refused", name)
        for turns in self._turns:
            self._grow(self._refused.labels(turns.name), turns.refused, "refused", turns.name)

        self._refresh_outbox()

    def _refresh_outbox(self) -> None:
        for kind, tally in self._outbox.tallies.items():
            self._jobs.labels(kind).set(tally.waiting)
            self._oldest.labels(kind).set(tally.oldest_seconds)
            self._grow(self._done.labels(kind), tally.done, "done", kind)
            for reason, count in tally.failed.items():
                self._grow(self._failed.labels(kind, reason), count, "failed", kind, reason)

    def _grow(self, counter: Any, count: float, *key: str) -> None:
        counter.inc(count - self._seen.get(key, 0))
        self._seen[key] = count

    async def next_text(self) -> bytes:
        """Return all metrics in Prometheus' text format, as they are after this call."""
        return await self._texts.next()

    def _text(self) -> bytes:
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


METRICS: Final[web.AppKey[Metrics]] = web.AppKey("metrics")
