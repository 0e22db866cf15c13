"""What deploys it: the Procfile under a process manager, the steps of the Dockerfile, and what compose.yaml names."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psutil
import pytest
import yaml
from aiohttp.test_utils import TestClient

from fw.config import Config
from tests.conftest import SECRET, MakeDatabase
from tests.support.live import connect, event
from tests.support.people import Person, register
from tests.support.processes import Process, environment
from tests.support.servers import free_port

ROOT = Path(__file__).parent.parent
SETTINGS = {setting.metadata["source"].variable for setting in fields(Config) if setting.metadata}


class Step(NamedTuple):
    """An instruction of a Dockerfile."""

    name: str
    words: str

    @property
    def exec_form(self) -> list[str]:
        return list(json.loads(self.words))


def stages() -> list[list[Step]]:
    """Read the Dockerfile: its instructions, by stage."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found: list[list[Step]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, words = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Step(name, words.strip()))
    return found


def named(steps: list[Step], name: str) -> list[Step]:
    return [step for step in steps if step.name == name]


def variables(steps: list[Step]) -> dict[str, str]:
    return dict(pair.split("=", 1) for step in named(steps, "ENV") for pair in step.words.split())


async def run(*command: str | Path, env: Mapping[str, str], cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await asyncio.wait_for(process.communicate(), 110))[0].decode()
    assert process.returncode == 0, f"{command}: {output}"
    return output


@pytest.mark.slow
async def test_a_process_manager_runs_the_procfile(make_database: MakeDatabase, tmp_path: Path) -> None:
    port = free_port()
    env = environment({"DATABASE_URL": make_database(), "FW_JWT_SECRET": SECRET, "WEB_CONCURRENCY": "2", "HOST": "127.0.0.1"})
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "PORT": str(port)}
    honcho = (sys.executable, "-m", "honcho", "-f", str(ROOT / "Procfile"), "-d", str(tmp_path))
    assert "applied  0001.accounts" in await run(*honcho, "run", *procfile()["release"].split(), env=env, cwd=tmp_path)
    log = tmp_path / "web.log"
    with log.open("wb") as output:
        started = await asyncio.create_subprocess_exec(
            *honcho, "start", "web", env=env, cwd=tmp_path, stdout=output, stderr=output, start_new_session=True
        )
    try:
        server = Process(started, log)
        url = await server.url()
        assert url == f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as http:
            headers = await register(http, url)
            async with http.post(f"{url}/api/feedback/somebody", json={"message": "Hello"}) as response:
                assert response.status == 201
            async with http.get(f"{url}/api/feedback", headers=headers) as response:
                assert (await response.json())["total_count"] == 1
        below = psutil.Process(started.pid).children(recursive=True)
        assert len(below) >= 3
        begin = time.monotonic()
        started.send_signal(signal.SIGTERM)
        await server.ended()
        assert time.monotonic() - begin < 15
        assert psutil.wait_procs(below, timeout=5)[1] == []
    finally:
        if started.returncode is None:
            os.killpg(started.pid, signal.SIGKILL)
            await started.wait()


def test_the_image_is_small_and_is_not_root() -> None:
    build, image = stages()
    assert "slim" in image[0].words
    assert not named(image, "RUN"), "nothing is installed, or left over from installing, in the image that runs"
    assert [step.words for step in named(image, "COPY")] == ["--from=build /opt/fw /opt/fw"]
    [user] = named(image, "USER")
    assert re.fullmatch("[1-9][0-9]+:[1-9][0-9]+", user.words)
    assert named(image, "STOPSIGNAL")[0].words == "SIGTERM"
    assert named(image, "EXPOSE")[0].words == variables(image)["PORT"]
    copied = {word.split("/")[0] for step in named(build, "COPY") for word in step.words.split()[:-1]}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.slow
async def test_the_steps_of_the_image_lead_to_a_server_that_is_healthy(make_database: MakeDatabase, tmp_path: Path) -> None:
    build, image = stages()
    source, prefix = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for step in named(build, "COPY"):
        for name in step.words.split()[:-1]:
            whole = ROOT / name
            if whole.is_dir():
                shutil.copytree(whole, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(whole, source / name)
    for step in named(build, "RUN"):
        command = step.words.replace("/opt/fw", str(prefix)).replace("python -m venv", f"{sys.executable} -m venv")
        await run("sh", "-c", command, env={**os.environ, **variables(build)}, cwd=source)
    shutil.rmtree(source)

    port = free_port()
    [command], [check] = named(image, "CMD"), named(image, "HEALTHCHECK")
    nowhere = tmp_path / "read-only"
    nowhere.mkdir(mode=0o555)
    env = {
        **variables(image),
        "PATH": f"{prefix}/bin:{os.environ['PATH']}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATABASE_URL": make_database(),
        "FW_JWT_SECRET": SECRET,
        "WEB_CONCURRENCY": "2",
    }
    before = {path: path.stat().st_mtime_ns for path in prefix.rglob("*")}
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        started = await asyncio.create_subprocess_exec(*command.exec_form, env=env, cwd=nowhere, stdout=output, stderr=output)
    try:
        server = Process(started, log)
        server_url = await server.url()
        assert server_url == f"http://127.0.0.1:{port}"
        await run(*json.loads(check.words.partition("CMD ")[2]), env=env, cwd=nowhere)
        async with aiohttp.ClientSession(server_url) as http:
            for path in ("/api/openapi.json", "/api/docs", "/api/docs/swagger-ui.css", "/problems/invalid"):
                assert (await http.get(path)).status == 200, path
        assert await server.stop() == 0, server.output
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
    assert list(nowhere.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in prefix.rglob("*")} == before, "something was written"


PACKAGE_MANAGERS = ("requirements.txt", "Pipfile", "Pipfile.lock", "poetry.lock", "uv.lock")
"""What heroku-buildpack-python (v351, lib/package_manager.sh) goes by; more than one of these is an error."""
INSTALL = "pip install -r requirements.txt --exists-action=w --no-cache-dir --no-input --progress-bar off"
"""What it runs for the first of them (lib/pip.sh)."""
NOT_DEPLOYED = shutil.ignore_patterns(".git", ".venv", ".fw", "*.egg-info", "build", "__pycache__", ".*_cache", ".hypothesis")


def procfile() -> dict[str, str]:
    """Read the Procfile: its commands, by their names."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines)}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_what_the_buildpack_installs_runs_the_procfile(make_database: MakeDatabase, tmp_path: Path) -> None:
    """What Heroku does, without Heroku: what was built is elsewhere when the program runs, and on its PYTHONPATH."""
    built, app, python = tmp_path / "build_1", tmp_path / "app", tmp_path / "python"
    shutil.copytree(ROOT, built, ignore=NOT_DEPLOYED)
    assert [name for name in PACKAGE_MANAGERS if (built / name).exists()] == ["requirements.txt"]
    await run(sys.executable, "-m", "venv", python, env=os.environ, cwd=tmp_path)
    path = {"PATH": f"{python}/bin:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
    await run("bash", "-c", INSTALL, env={**os.environ, **path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, cwd=built)
    built.rename(app)

    port, log = free_port(), tmp_path / "web.log"
    config_vars = {"DATABASE_URL": make_database().replace("postgresql:", "postgres:"), "FW_JWT_SECRET": SECRET}
    given = {"HOME": str(app), "PYTHONPATH": str(app), "PORT": str(port), "WEB_CONCURRENCY": "2", "HOST": "127.0.0.1"}
    env = {**path, **config_vars, **given}
    assert "applied  0001.accounts" in await run("bash", "-c", procfile()["release"], env=env, cwd=app)
    with log.open("wb") as output:
        started = await asyncio.create_subprocess_exec(
            "bash", "-c", procfile()["web"], env=env, cwd=app, stdout=output, stderr=output
        )
    try:
        server = Process(started, log)
        url = await server.url()
        assert url == f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(url) as http:
            await register(http, url)
            for page in ("/api/docs", "/api/docs/swagger-ui.css", "/health/ready"):
                assert (await http.get(page)).status == 200, page
        assert await server.stop() == 0, server.output
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
    # Also without the folder: what is installed is whole.
    elsewhere = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    assert "applied  0001.accounts" in await run("fw", "migrate", "--status", env=elsewhere, cwd=tmp_path)


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return found


def test_compose_names_what_there_is() -> None:
    services = compose()["services"]
    web, database = services["web"], services["db"]
    assert set(web["environment"]) <= SETTINGS
    assert {"DATABASE_URL", "FW_JWT_SECRET"} <= set(web["environment"])
    assert web["build"] == "."
    assert web["ports"] == [f"127.0.0.1:${{PORT:-8080}}:{variables(stages()[1])['PORT']}"]
    assert web["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert web["read_only"] is True
    assert database["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert {volume.split(":")[0] for volume in database["volumes"]} == set(compose()["volumes"])
    assert int(web["stop_grace_period"].removesuffix("s")) > 15


def test_compose_gives_no_secret_a_value() -> None:
    services = compose()["services"]
    for value in (
        services["web"]["environment"]["FW_JWT_SECRET"],
        services["web"]["environment"]["DATABASE_URL"],
        services["db"]["environment"]["POSTGRES_PASSWORD"],
    ):
        assert re.search(r"\$\{(FW_JWT_SECRET|POSTGRES_PASSWORD):\?", value)


async def test_dashboard_and_alerts_ask_for_metrics_that_there_are(client: TestClient, user: Person) -> None:
    ws = await connect(user)
    await user.receive("Hello")
    await event(ws)
    text = await (await client.get("/metrics")).text()
    there = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    deploy = ROOT / "fw" / "deploy"
    panels = json.loads((deploy / "grafana.json").read_text(encoding="utf-8"))["panels"]
    groups = yaml.safe_load((deploy / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked += [rule["expr"] for group in groups for rule in group["rules"]]
    names = {name for expr in asked for name in re.findall(r"\bfw_\w+", expr)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}
    assert families == there
    for expr in asked:
        assert all(expr.count(opening) == expr.count(closing) for opening, closing in ("()", "[]", "{}")), expr


@pytest.mark.slow
async def test_the_wheel_has_everything(tmp_path: Path) -> None:
    # What git knows of, so that nothing left behind by a build counts.
    known = (await run("git", "ls-files", "fw", "sql", env=environment({}), cwd=ROOT)).splitlines()
    # A folder of its own: a build leaves things beside what it builds.
    shutil.copytree(ROOT / "fw", tmp_path / "fw", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("sql", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    await run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", "made", ".", env=environment({}), cwd=tmp_path)
    [wheel] = (tmp_path / "made").glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("fw/")}
    wanted = {name if name.startswith("fw/") else f"fw/{name}" for name in known} - {"fw/sql"}
    assert packed == wanted
