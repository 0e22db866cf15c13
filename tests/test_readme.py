"""The README's tour, pasted."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes import fw

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is told with curl, which is not installed")
async def test_the_tour_works_when_it_is_pasted(tmp_path: Path, database_url: str) -> None:
    found = re.search(r"<!-- tour -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    async with fw("serve", folder=tmp_path, DATABASE_URL=database_url, FW_JWT_SECRET="s" * 32, FW_RATE_LIMITS="off") as server:
        script = f"set -eu\nAPI={await server.url()}\n{found[1]}"
        done = await asyncio.to_thread(subprocess.run, ["bash", "-c", script], capture_output=True, text=True, check=False)
        await server.stop()
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"nps":100.0' in done.stdout
    assert '"event":"deleted"' in done.stdout
