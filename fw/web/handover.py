"""What becomes of a connection that speaks another protocol from here on."""

import asyncio

from aiohttp.web_protocol import RequestHandler


def hand_over(handler: RequestHandler, protocol: asyncio.Protocol) -> None:
    """Give a connection that has been upgraded to another protocol; its handler has none from here on, and ends.

    Raises `ConnectionError` if the client has left.
    """
    transport, tail = handler.transport, handler._message_tail
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    # Else the handler would close it, and cancel what answers the request.
    handler.transport = handler._task_handler = None
    handler.connection_lost(None)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    transport.resume_reading()
    if tail:
        # The client did not wait for the answer.
        protocol.data_received(tail)
