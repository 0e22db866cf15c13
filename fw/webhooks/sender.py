"""Has webhooks sent by a process of its own: whatever their receivers do to it, the service goes on.

A receiver chooses what TLS has to work on: a certificate of 600 bytes can take OpenSSL a third of a second, and a handshake can
hold 150 of them.
"""

import asyncio
import itertools
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from fw.webhooks.outcome import Outcome

log = logging.getLogger("fw.webhooks")

PROGRAM: Final = "fw.webhooks.sender_process"
KEPT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF")
"""The variables of the environment that the process gets: it needs none of the service's secrets."""
STOOD_STILL: Final = 86
"""The code by which the process ends itself when it has stood still."""
SILENT_SECONDS: Final = 15.0
"""After how long without a sign of life the process is killed. It ends itself much sooner if it can."""
END_SECONDS: Final = 2.0


class StoodStill(Exception):
    """The process stood still over this attempt."""


class Interrupted(Exception):
    """The process stood still over another attempt, before this one was connected."""


class Lost(Exception):
    """The process ended, for whatever reason: nobody knows how far the attempt got."""


@dataclass(slots=True)
class _Attempt:
    ended: asyncio.Future[Outcome]
    is_connected: bool = False


class Sender:
    """One such process. It is started for the first attempt, and again if it has ended."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._attempts: dict[int, _Attempt] = {}
        self._numbers = itertools.count(1)
        self._starting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._costly: set[int] = set()
        """The attempts over which the process says that it has stood still."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the process; what it is sending is cut off."""
        listening, self._listening = self._listening, None
        if listening:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Outcome:
        """Make an attempt, which may take so long. Raises `StoodStill`, `Interrupted`, `Lost`."""
        async with self._starting:
            if self._listening is None or self._listening.done():
                await self._start()
        writer = self._writer
        assert writer is not None
        number = next(self._numbers)
        attempt = self._attempts[number] = _Attempt(asyncio.get_running_loop().create_future())
        asked = {"number": number, "url": url, "headers": headers, "body": body.decode(), "seconds": seconds}
        try:
            writer.write(orjson.dumps(asked, option=orjson.OPT_APPEND_NEWLINE))
            return await attempt.ended
        finally:
            del self._attempts[number]

    async def _start(self) -> None:
        """Start the process. Raises `Lost`."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.to_thread(spawn, theirs, allow_private=self._allow_private)
        except OSError as error:
            ours.close()
            log.error("the sender of webhooks does not start", extra={"reason": type(error).__name__})  # noqa: TRY400
            raise Lost from None
        finally:
            theirs.close()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._listening = asyncio.create_task(self._listen(reader, self._writer, process), name="sender of webhooks")

    async def _listen(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: subprocess.Popen[bytes]
    ) -> None:
        """Take what the process tells, until it ends."""
        try:
            while True:
                async with asyncio.timeout(SILENT_SECONDS):
                    line = await reader.readline()
                if not line:
                    break
                # The last one may have been cut off.
                with suppress(orjson.JSONDecodeError):
                    self._take(orjson.loads(line))
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()
            code = await asyncio.shield(asyncio.to_thread(end, process))
            if self._attempts:
                log.warning("the sender of webhooks has ended", extra={"code": code, "attempts": len(self._attempts)})
            costly, self._costly = self._costly, set()
            for number, attempt in self._attempts.items():
                if attempt.ended.done():
                    continue
                if number in costly:
                    attempt.ended.set_exception(StoodStill())
                elif code == STOOD_STILL and not attempt.is_connected:
                    attempt.ended.set_exception(Interrupted())
                else:
                    attempt.ended.set_exception(Lost())

    def _take(self, told: Mapping[str, Any]) -> None:
        if "stood_still_over" in told:
            self._costly.update(told["stood_still_over"])
            return
        attempt = self._attempts.get(told["number"])
        if attempt is None or attempt.ended.done():
            return
        if "error" in told:
            attempt.ended.set_result(Outcome(told["status"], told["error"], told["is_costly"]))
        else:
            attempt.is_connected = True


def spawn(sock: socket.socket, *, allow_private: bool) -> subprocess.Popen[bytes]:
    """Start the process with its end of the socket. Raises `OSError`."""
    return subprocess.Popen(
        [sys.executable, "-m", PROGRAM, str(sock.fileno()), *(["--allow-private"] if allow_private else [])],
        pass_fds=[sock.fileno()],
        stdin=subprocess.DEVNULL,
        env={name: os.environ[name] for name in KEPT if name in os.environ},
        # Signals from a terminal are not for it: it ends when its socket does.
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process, and kill it if that does not come soon. Returns its exit code."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(END_SECONDS)
    process.kill()
    return process.wait()
