"""The checks of `fw doctor`: how they run, and how their findings are told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from fw.commands.doctor import database as database_checks
from fw.commands.doctor import machine as machine_checks
from fw.commands.doctor import outside as outside_checks
from fw.commands.doctor.finding import Finding, Status, Subject, failed, skipped, told
from fw.terminal import printable

CHECK_SECONDS: Final = 5.0
WORDS: Final = {Status.FAILED: "FAILED"}


class Check(NamedTuple):
    """One thing to look at. It is skipped if the check that it `needs` has failed or was skipped."""

    name: str
    look: Callable[[Subject], Awaitable[Finding]]
    needs: str = ""


CHECKS: Final = (
    Check("secret", machine_checks.check_secret),
    Check("data directory", machine_checks.check_data_directory),
    Check("open files", machine_checks.check_open_files),
    Check("database", database_checks.check_database),
    Check("migrations", database_checks.check_migrations, needs="database"),
    Check("listen", database_checks.check_listen, needs="database"),
    Check("connections", database_checks.check_connections, needs="database"),
    Check("cluster", database_checks.check_cluster, needs="migrations"),
    Check("clock", database_checks.check_clock, needs="database"),
    Check("outbox", database_checks.check_outbox, needs="migrations"),
    Check("public url", outside_checks.check_public_url),
    Check("proxies", outside_checks.check_proxies, needs="public url"),
    Check("websocket", outside_checks.check_websocket, needs="public url"),
    Check("mail", outside_checks.check_mail),
    Check("redis", outside_checks.check_redis),
)


async def examine(subject: Subject) -> AsyncIterator[tuple[str, Finding]]:
    """Run all checks at once, and give the name and the finding of each, in order."""
    begun: dict[str, asyncio.Task[Finding]] = {}
    for check in CHECKS:
        begun[check.name] = asyncio.create_task(perform(check, subject, begun))
    try:
        for name, task in begun.items():
            yield name, await task
    finally:
        for task in begun.values():
            task.cancel()
        await asyncio.gather(*begun.values(), return_exceptions=True)


async def perform(check: Check, subject: Subject, begun: Mapping[str, asyncio.Task[Finding]]) -> Finding:
    """Run one check within its time. An error in it is its own finding and hides no other."""
    if check.needs:
        needed = await asyncio.shield(begun[check.needs])
        if needed.status in (Status.FAILED, Status.SKIPPED):
            return skipped(needed.detail if needed.status is Status.SKIPPED else f"needs: {check.needs}")
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check.look(subject)
    except TimeoutError:
        return failed(
            f"no answer within {CHECK_SECONDS:g} s", "see whether something drops packets, or hangs, on the way there"
        )
    except Exception as error:  # noqa: BLE001
        return failed(f"{type(error).__name__}: {told(error, subject.config)}", "see what is said above and below")


async def report(subject: Subject, write: Callable[[str], object], *, as_json: bool = False) -> bool:
    """Write the findings, one by one or as one JSON text, and return whether none has failed."""
    found: dict[str, Finding] = {}
    async for name, finding in examine(subject):
        found[name] = finding
        if not as_json:
            write("\n".join(lines(name, finding)))
    count = Counter(finding.status for finding in found.values())
    if as_json:
        write(json_text(found, ok=not count[Status.FAILED]))
    else:
        write(f"\n{count[Status.FAILED]} failed, {count[Status.WARNING]} to look at, {count[Status.OK]} well")
    return not count[Status.FAILED]


def lines(name: str, finding: Finding) -> list[str]:
    """Return a finding in one line, and what to do in a second one."""
    first = f"{WORDS.get(finding.status, finding.status):<8} {name:<15} {printable(finding.detail)}"
    return [first, f"{'':24} -> {printable(finding.advice)}"] if finding.advice else [first]


def json_text(found: Mapping[str, Finding], *, ok: bool) -> str:
    checks: list[dict[str, Any]] = [{"name": name, **finding._asdict()} for name, finding in found.items()]
    return orjson.dumps({"ok": ok, "checks": checks}, option=orjson.OPT_INDENT_2).decode()
