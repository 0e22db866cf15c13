"""A log that nobody reads must not stop the service, and what is read must be whole."""

import asyncio
import os
import signal
import sys
import threading
from io import StringIO
from pathlib import Path

import aiohttp
import pytest

from fw.telemetry.log_writer import Aside
from tests.support.processes import SETTINGS, environment
from tests.support.servers import free_port
from tests.support.waiting import until


class Stuck(StringIO):
    """A stream that takes nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()

    def write(self, text: str) -> int:
        self.may.wait(20)
        return super().write(text)


def test_writes_everything_in_order_before_it_ends() -> None:
    stream = StringIO()
    aside = Aside(stream)
    for n in range(1000):
        aside.write(f"{n}\n")
        aside.flush()
    assert aside.close()
    assert stream.getvalue() == "".join(f"{n}\n" for n in range(1000))


def test_drops_what_does_not_fit_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    stream = Stuck()
    aside = Aside(stream, most=100)
    for n in range(50):
        aside.write(f"{n:09}\n")
    stream.may.set()
    assert aside.close()
    lines = [int(line) for line in stream.getvalue().splitlines()]
    assert lines == list(range(len(lines)))
    assert 10 <= len(lines) <= 11
    [record] = [record for record in caplog.records if record.name == "fw.log"]
    assert record.parts == 50 - len(lines)  # type: ignore[attr-defined]


def test_a_stream_that_is_broken_does_not_end_the_thread() -> None:
    stream = StringIO()
    aside = Aside(stream)
    stream.close()
    aside.write("lost\n")
    aside.write("lost too\n")
    assert aside.close()


@pytest.mark.slow
async def test_the_service_goes_on_while_nobody_reads_its_log(tmp_path: Path) -> None:
    port = free_port()
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "fw", "serve"),
        cwd=tmp_path,
        env=environment({**SETTINGS, "PORT": str(port)}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=writing,
    )
    os.close(writing)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:

            async def answers() -> bool:
                try:
                    async with http.get(f"http://127.0.0.1:{port}/health") as response:
                        return response.status == 200
                except aiohttp.ClientConnectionError:
                    return False

            await until(answers, "the server to answer", seconds=60)
            # A pipe holds 64 KiB, and a request's line has some 200 characters.
            for _ in range(1000):
                assert await answers()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        os.close(reading)
        if process.returncode is None:
            process.kill()
            await process.wait()
