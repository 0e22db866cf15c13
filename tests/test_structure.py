"""How the modules of fw hang together."""

import ast
import re
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import fw
from fw import purge
from fw.schemas import feedback
from fw.statements import statements

LAYERS = (
    "__main__",
    "cli",
    "doctor",
    "machine_checks database_checks outside_checks",
    "workers server embedded migrations archive backup capacity findings tail",
    "app",
    "middleware cors observer openapi",
    "components",
    "routes",
    "handlers",
    "credentials submissions statistics",
    "metrics",
    "inbox counters purge limits windows tracking tokens passwords payload schemas addresses pages search json_schemas",
    "database",
    "logs",
    "operations statements ids config errors keys terminal descriptors",
)
"""From top to bottom. A module imports from its own layer, without circles, and from those below."""
LAYER_OF: Mapping[str, int] = {part: number for number, layer in enumerate(LAYERS) for part in layer.split()}

ROOT = Path(fw.__file__).parent
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE)\s")
RUNS_STATEMENTS = ("row", "rows", "change", "changes")
FILLED_IN: Mapping[str, tuple[str, ...]] = {
    "feedback.{}": tuple(feedback.LIST.fields["order"].validators[0].choices),  # type: ignore[attr-defined]
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


def run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through everything but what only type checkers see."""
    yield node
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children: list[ast.AST] = list(node.orelse)
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from run_time(child)


def imports(name: str) -> set[str]:
    """Return the modules of fw that a module imports, at its top or in a function."""
    found = set()
    for node in run_time(modules()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively: {ast.unparse(node)}"
            source = node.module or ""
            found |= {whole if (whole := f"{source}.{alias.name}") in modules() else source for alias in node.names}
    return {module for module in found if module.split(".")[0] == "fw"} - {name}


def part_of(name: str) -> str:
    """Return the module or package right under fw."""
    return [*name.split("."), ""][1]


def layer_of(name: str) -> int:
    """Return the number of a module's layer; fw itself lies below all."""
    if not part_of(name):
        return len(LAYERS)
    assert part_of(name) in LAYER_OF, f"{name} is in no layer"
    return LAYER_OF[part_of(name)]


def texts(name: str) -> Iterator[str]:
    """Find every text in a module; of one that is put together, the beginning."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def template(node: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def named_statements(name: str) -> Iterator[str]:
    """Find the names of statements in a module: whatever begins as one, and what is handed to the database."""
    files = {statement.split(".")[0] for statement in statements()}
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
            if file in files and re.fullmatch(r"\w+", rest):
                yield node.value


def test_every_module_has_its_layer() -> None:
    assert len(modules()) > 30
    lost = sorted(name for name in modules() if part_of(name) and part_of(name) not in LAYER_OF)
    assert not lost, f"in no layer: {', '.join(lost)}"


def test_every_package_is_installed() -> None:
    settings = ConfigParser()
    settings.read(ROOT.parent / "setup.cfg", encoding="utf-8")
    installed = {name for name in settings["options"]["packages"].split() if not name.startswith("fw.sql.")}
    assert installed == {".".join(path.parent.relative_to(ROOT.parent).parts) for path in ROOT.rglob("__init__.py")}


def test_imports_point_down() -> None:
    wrong = [
        f"{name} (in {LAYERS[layer_of(name)]!r}) imports {imported} (above it, in {LAYERS[layer_of(imported)]!r})"
        for name in sorted(modules())
        for imported in sorted(imports(name))
        if layer_of(imported) < layer_of(name)
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


def test_handlers_import_no_handlers() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name in sorted(modules())
        if name.startswith("fw.handlers.")
        for imported in sorted(imports(name))
        if part_of(imported) == "handlers"
    ]
    assert not wrong, "\n".join(wrong)


def test_keys_import_nothing_of_fw_when_they_run() -> None:
    assert imports("fw.keys") == set()


def test_sql_stands_in_its_files() -> None:
    wrong = [
        f"{name} has SQL of its own: {text.strip()[:60]!r}"
        for name in sorted(modules())
        if name != "fw.migrations"
        for text in texts(name)
        if SQL.match(text) and text != "SELECT 1"
    ]
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
