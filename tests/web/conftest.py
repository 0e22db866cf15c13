"""What tests of connections share."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from fw.config import Config
from fw.server import Runner, make_runner


@pytest.fixture
async def runner(config: Config) -> AsyncIterator[Runner]:
    runner = make_runner(config)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner
    await runner.cleanup()
