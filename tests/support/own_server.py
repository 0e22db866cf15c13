"""The server itself, in the process of a test."""

from aiohttp import web

from fw.config import Config
from fw.server import Runner, make_runner


async def start(config: Config) -> Runner:
    """Start a server on a free port of this machine."""
    runner = make_runner(config)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner
