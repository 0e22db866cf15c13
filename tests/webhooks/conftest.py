"""Webhooks are tried with receivers on this machine."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from fw.config import Config
from tests.support.receiver import Receiver, receiving


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, webhook_allow_private=True)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found
