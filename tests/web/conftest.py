"""What tests of connections share."""

from collections.abc import AsyncIterator

import pytest

from fw.config import Config
from fw.server import Runner
from tests.support.own_server import start


@pytest.fixture
async def runner(config: Config) -> AsyncIterator[Runner]:
    runner = await start(config)
    yield runner
    await runner.cleanup()
