"""Thousands of requests, right and wrong, made of the description alone: all checks that schemathesis has."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.processes import fw

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = 5
"""Requests that are made up for each operation, beside those at the edges of its description."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("logged_in", "phases"),
    # The edges of what is for anyone are the same with a token.
    [("0", "examples,fuzzing,stateful"), ("1", "examples,coverage,fuzzing,stateful")],
    ids=["anyone", "somebody"],
)
async def test_answers_as_described(tmp_path: Path, database_url: str, logged_in: str, phases: str) -> None:
    settings = {"FW_RATE_LIMITS": "off", "FW_BCRYPT_COST": "4", "FW_PREMIUM_SELF_SERVICE": "1", "FW_JWT_SECRET": "s" * 32}
    async with fw("serve", folder=tmp_path, DATABASE_URL=database_url, **settings) as server:
        url = await server.url()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{url}/api/openapi.json", "--checks", "all", "--phases", phases, "--max-examples", str(EXAMPLES)),
            *("--continue-on-failure", "--no-color", "--warnings", "off", "--suppress-health-check", "too_slow"),
            cwd=tmp_path,
            env={**os.environ, "FW_URL": url, "FW_LOGGED_IN": logged_in, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
        code = await server.stop()
    assert process.returncode == 0, output
    assert "Selected: " in output
    assert code == 0
    assert '"level":"ERROR"' not in server.output
