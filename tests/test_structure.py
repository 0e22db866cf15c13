"""The house: how the rooms of fw hang together, in code, in SQL and in tests."""

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import fw
from fw.database import purge
from fw.database.statements import ROOT as SQL_ROOT
from fw.database.statements import statements
from fw.inbox import listing
from fw.webhooks.webhook import EVENTS

ROOMS = (
    "__main__",
    "cli",
    "commands",
    "workers",
    "server",
    "app",
    "routes",
    "docs pages widgets webhooks telemetry",
    "inbox",
    "accounts outbox",
    "web",
    "database",
    "config errors ids background terminal",
)
"""From left to right. A room imports only from rooms further right; those between the same bars do not know each other."""
PLACE: Mapping[str, int] = {room: place for place, rooms in enumerate(ROOMS) for room in rooms.split()}

ROOT = Path(fw.__file__).parent
TESTS = Path(__file__).parent
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE)\s")
RUNS_STATEMENTS = ("row", "rows", "change", "changes")
FILLED_IN: Mapping[str, tuple[str, ...]] = {
    "feedback.{}": tuple(listing.List().fields["order"].validators[0].choices),  # type: ignore[attr-defined]
    "feedback.{}_of_widget": ("newest", "oldest"),
    "purge.{}": purge.STATEMENTS,
}
"""What stands in the names of statements that are put together."""


@cache
def modules() -> Mapping[str, ast.Module]:
    """Parse every module of fw."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("fw", *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports_of(name: str, tree: ast.Module, known: Collection[str]) -> set[str]:
    """Return what a module imports (at its top, in a function, or for type checkers alone), modules that are known in full."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively: {ast.unparse(node)}"
            source = node.module or ""
            found |= {whole if (whole := f"{source}.{alias.name}") in known else source for alias in node.names}
    return found - {name}


def imports(name: str) -> set[str]:
    """Return the modules of fw that a module of fw imports."""
    found = imports_of(name, modules()[name], modules())
    return {module for module in found if module.split(".")[0] == "fw"} - {"fw"}


def room_of(name: str) -> str:
    """Return the folder or module right under fw."""
    return [*name.split("."), ""][1]


@cache
def rooms_of_statements() -> Mapping[str, str]:
    """Map the file of each statement to its room."""
    return {path.stem: path.parent.name for path in (SQL_ROOT / "queries").rglob("*.sql")}


def texts(name: str) -> Iterator[str]:
    """Find every text in a module; of one that is put together, the beginning."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def template(node: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def named_statements(name: str) -> Iterator[str]:
    """Find the names of statements in a module: whatever begins as one, and what is handed to the database."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RUNS_STATEMENTS:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.JoinedStr):
                assert template(first) in FILLED_IN, f"{name} puts together {template(first)!r}: say from what in FILLED_IN"
                yield from (template(first).format(word) for word in FILLED_IN[template(first)])
            elif isinstance(first, ast.Constant):
                yield str(first.value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            file, _, rest = node.value.partition(".")
            # The events of webhooks are named alike.
            if file in rooms_of_statements() and re.fullmatch(r"\w+", rest) and node.value not in EVENTS:
                yield node.value


def is_endpoint(name: str) -> bool:
    """Tell whether a module has an operation of the API."""
    decorators = (
        decorator
        for node in ast.walk(modules()[name])
        if isinstance(node, ast.AsyncFunctionDef)
        for decorator in node.decorator_list
    )
    return any(isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "operation" for decorator in decorators)


def test_every_module_has_its_room() -> None:
    assert len(modules()) > 60
    lost = sorted(name for name in modules() if room_of(name) and room_of(name) not in PLACE)
    assert not lost, f"in no room: {', '.join(lost)}"


def test_nothing_but_the_ground_stands_at_the_top() -> None:
    files = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert files <= {*" ".join(ROOMS[:2]).split(), "workers", "server", "app", "routes", *ROOMS[-1].split()}


def test_rooms_import_only_from_rooms_further_right() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name in sorted(modules())
        if room_of(name)
        for imported in sorted(imports(name))
        if room_of(imported) != room_of(name)
        and PLACE[room_of(imported)] <= PLACE[room_of(name)]
        # The ground is one: what is in it may know each other.
        and not (PLACE[room_of(imported)] == PLACE[room_of(name)] == len(ROOMS) - 1)
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_make_no_circle() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle of imports: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for imported in sorted(imports(name)):
                visit(imported, (*way, name))
            done.add(name)

    for name in sorted(modules()):
        visit(name, ())


def test_an_endpoint_imports_no_other_endpoint() -> None:
    endpoints = {name for name in modules() if is_endpoint(name)}
    assert len(endpoints) > 10
    wrong = [f"{name} imports {imported}" for name in sorted(endpoints) for imported in sorted(imports(name) & endpoints)]
    assert not wrong, "\n".join(wrong)


def test_sql_stands_in_its_files() -> None:
    wrong = [
        f"{name} has SQL of its own: {text.strip()[:60]!r}"
        for name in sorted(modules())
        if name != "fw.database.migrations"
        for text in texts(name)
        if SQL.match(text) and text != "SELECT 1"
    ]
    assert not wrong, "\n".join(wrong)


def test_a_room_runs_only_statements_of_its_own_or_of_one_further_right() -> None:
    wrong = []
    for name in sorted(modules()):
        for statement in sorted(set(named_statements(name))):
            room = rooms_of_statements()[statement.partition(".")[0]]
            if room != room_of(name) and PLACE[room] <= PLACE[room_of(name)]:
                wrong.append(f"{name} runs {statement} of {room}")
    assert not wrong, "\n".join(wrong)


def test_every_statement_that_is_run_exists() -> None:
    wrong = [
        f"{name} runs {statement}, which is in no file"
        for name in sorted(modules())
        for statement in sorted(set(named_statements(name)) - statements().keys())
    ]
    assert not wrong, "\n".join(wrong)


def test_every_statement_that_exists_is_run() -> None:
    used = {statement for name in modules() for statement in named_statements(name)}
    unused = sorted(statements().keys() - used)
    assert not unused, f"nobody runs {', '.join(unused)}"


def test_files_of_statements_have_names_of_their_own() -> None:
    files = [path.stem for path in (SQL_ROOT / "queries").rglob("*.sql")]
    assert len(files) == len(set(files))


def test_each_folder_of_statements_is_a_room_and_each_room_has_its_tests() -> None:
    folders = {path.name for path in (SQL_ROOT / "queries").iterdir()}
    assert folders <= {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert {room for room in rooms if not list((TESTS / room).glob("test_*.py"))} == set()


def test_nothing_imports_a_test_module() -> None:
    trees = {
        ".".join(path.relative_to(TESTS.parent).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"), str(path))
        for path in TESTS.rglob("*.py")
    }
    tests = {name for name in trees if name.rpartition(".")[2].startswith("test_")}
    assert len(tests) > 60
    wrong = [
        f"{name} imports {imported}: what tests share stands in tests/support"
        for name, tree in sorted(trees.items())
        for imported in sorted(imports_of(name, tree, tests) & tests)
    ]
    assert not wrong, "\n".join(wrong)


def test_functions_are_short() -> None:
    long = [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, tree in sorted(modules().items())
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno
        and node.end_lineno - node.lineno >= 45
        # The whole wiring stands on one screen.
        and (name, node.name) != ("fw.app", "create_app")
    ]
    assert not long, "\n".join(long)
