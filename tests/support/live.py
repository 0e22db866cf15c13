"""Readers of the live channel."""

import json
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType

from tests.support.people import Person

PATH = "/api/feedback/live"


async def event(ws: ClientWebSocketResponse) -> dict[str, Any]:
    """Return the next event."""
    message = await ws.receive(timeout=10)
    assert message.type is WSMsgType.TEXT, message
    found: dict[str, Any] = json.loads(message.data)
    return found


async def close_code(ws: ClientWebSocketResponse) -> int | None:
    """Wait for the server to close, and return why."""
    while (await ws.receive(timeout=10)).type in (WSMsgType.TEXT, WSMsgType.BINARY):
        pass
    return ws.close_code


async def connect(user: Person, since: int | None = None, **options: Any) -> ClientWebSocketResponse:
    query = "" if since is None else f"?since={since}"
    return await user.client.ws_connect(PATH + query, headers=user.headers, **options)
