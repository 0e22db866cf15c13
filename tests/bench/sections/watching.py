"""(f) What it costs to be watched: submissions with the log, and limits, on and off. Metrics are always on."""

from typing import Final

from tests.bench.bench import Bench
from tests.bench.calls import submission
from tests.bench.load import Candidate, Load, in_turns, ratio
from tests.bench.report import Section, Target

CONNECTIONS: Final = 64
WARM_UP_SECONDS: Final = 1
ROUNDS: Final = 9
SETTINGS: Final = {
    "off": {"FW_LOG_LEVEL": "WARNING", "FW_RATE_LIMITS": "off"},
    "on": {"FW_LOG_LEVEL": "INFO", "FW_RATE_LIMITS": "submission=999999/s,submission-inbox=999999/s"},
}


async def run(bench: Bench) -> Section:
    section = Section("(f) log and limits, 64 connections")
    async with (
        bench.site("fw", label="off", **SETTINGS["off"]) as off,
        bench.site("fw", label="on", **SETTINGS["on"]) as on,
    ):
        candidates = {
            name: Candidate.make(site.server, bench.folder, [submission(site.accounts[0])], 201)
            for name, site in (("off", off), ("on", on))
        }
        for candidate in candidates.values():
            await candidate.load(CONNECTIONS, WARM_UP_SECONDS)

        async def measure(name: str) -> Load:
            return await candidates[name].load(CONNECTIONS, bench.seconds)

        loads = await in_turns(candidates, measure, ROUNDS)
    for name, found in loads.items():
        middle = Load.median(found)
        section.rows.append(
            {"log and limits": name, "a second": middle.rate, "p50 ms": middle.p50, "p99 ms": middle.p99}
            | {"times off": ratio(loads, name, "off")}
        )
    section.targets.append(Target("submissions with log and limits by those without", ratio(loads, "on", "off"), ">=", 0.95))
    return section
