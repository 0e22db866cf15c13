"""A site of somebody else's, for the tests of widgets."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient

from tests.support.sites import Site, site_of


@pytest.fixture
async def site(client: TestClient) -> AsyncIterator[Site]:
    async with site_of(client) as site:
        yield site
