"""Run the benchmarks: `make bench`, or `make bench ARGS='--only a,b --seconds 1'`."""

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import uvloop

from fw.config import ConfigError
from tests.bench import plot
from tests.bench.bench import MOST_ITEMS, Bench
from tests.bench.cluster import Cluster, run_cluster
from tests.bench.load import Missing, find_wrk
from tests.bench.report import Section
from tests.bench.sections import costs, growth, lists, live, logins, submissions, watching

SECTIONS: Final[Mapping[str, Callable[[Bench], Awaitable[Section]]]] = {
    "a": submissions.run,
    "b": lists.run,
    "c": live.run,
    "d": logins.run,
    "e": growth.run,
    "f": watching.run,
    "g": costs.run,
}
PACKAGES: Final = ("aiohttp", "asyncpg", "uvloop", "fastapi", "uvicorn", "sqlalchemy", "psycopg2-binary")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the service beside others.")
    found.add_argument("--only", type=sections, default=list(SECTIONS), metavar="a,b,...", help="the sections to run (all)")
    found.add_argument("--seconds", type=seconds, default=2, help="how long each load lasts (2)")
    found.add_argument(
        "--items",
        type=items,
        default=MOST_ITEMS,
        help=f"the most items that section e stores ({MOST_ITEMS:,}); ten million take a quarter of an hour and 10 GB",
    )
    found.add_argument("--json", type=Path, metavar="FILE", help="write what was found as JSON")
    found.add_argument("--plot", type=Path, metavar="FILE", help="draw section a as SVG")
    found.add_argument("--plot-costs", type=Path, metavar="FILE", help="draw section g as SVG")
    return found


def sections(text: str) -> list[str]:
    found = text.split(",")
    if not set(found) <= SECTIONS.keys():
        raise argparse.ArgumentTypeError(f"must be some of {','.join(SECTIONS)}")
    return sorted(set(found))


def seconds(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 60:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 60")
    return int(text)


def items(text: str) -> int:
    if not text.isdigit() or not MOST_ITEMS <= int(text) <= 100 * MOST_ITEMS:
        raise argparse.ArgumentTypeError(f"must be a whole number from {MOST_ITEMS} to {100 * MOST_ITEMS}")
    return int(text)


def machine(cluster: Cluster) -> dict[str, Any]:
    """Say what the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgresql": cluster.version(),
        **{name: version(name) for name in PACKAGES},
    }


async def measure(cluster: Cluster, folder: Path, options: argparse.Namespace) -> dict[str, Section]:
    bench = Bench(cluster, folder, options.seconds, options.items)
    found: dict[str, Section] = {}
    for key in options.only:
        begin = time.monotonic()
        found[key] = await SECTIONS[key](bench)
        print(f"{found[key].text()}\n({time.monotonic() - begin:.0f} s)\n", flush=True)
    return found


def main() -> int:
    options = parser().parse_args()
    for asked, key in ((options.plot, "a"), (options.plot_costs, "g")):
        if asked and key not in options.only:
            parser().error(f"section {key} is needed for that drawing")
    # Whoever ends this ends what it has started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        find_wrk()
        with tempfile.TemporaryDirectory(prefix="fw-bench-") as name, run_cluster(Path(name)) as cluster:
            about = machine(cluster)
            print(", ".join(f"{what} {value}" for what, value in about.items()) + "\n", flush=True)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(measure(cluster, Path(name), options))
    except (ConfigError, Missing, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 1
    if options.json:
        data = {"machine": about, "seconds": options.seconds, "sections": {key: part.data() for key, part in found.items()}}
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    if options.plot:
        options.plot.write_text(plot.submissions(found["a"]), encoding="utf-8")
    if options.plot_costs:
        options.plot_costs.write_text(plot.costs(found["g"]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
