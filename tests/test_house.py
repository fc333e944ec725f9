"""The order of dependency: a file imports only from floors above its own.

The floors are listed from the top of README's picture to the bottom; a plug-in never
imports another of its kind.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

FLOORS = [
    ("mia_jax", "contracts", "validate", "rng"),
    ("_files", "_npy", "_tables", "_manifests", "_pickle"),
    ("config", "presets", "provenance", "results", "store"),
    ("masks", "metrics", "scores"),
    ("usefulness", "batches", "losses", "leave_one_out", "progress", "terminal"),
    ("units", "dp"),
    ("data", "models", "defences", "attacks"),
    ("_prediction_checks", "layouts", "predictions"),
    ("cohort", "training", "inference"),
    ("shadow",),
    ("planner",),
    ("risk",),
    ("report",),
    ("stages",),
    ("notebook",),
    ("experiments",),
]
PLUGINS = ("data", "layouts", "models", "defences", "attacks")


def _files():
    folders = (ROOT / "mia_jax", ROOT / "experiments")
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def _name(path):
    """The unit of a file: a module of mia_jax, or a folder with all its files."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "experiments":
        return "experiments"
    return parts[1] if parts[1] != "__init__" else "mia_jax"


def _imports(path):
    """Dotted names that a file imports from this project."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("mia_jax"))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (n for n in names if n.startswith(("mia_jax", "experiments")))


def _unit(dotted):
    parts = dotted.split(".")
    return "experiments" if parts[0] == "experiments" else [*parts, "mia_jax"][1]


LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}


def test_every_file_has_a_floor():
    units = {_name(path) for path in _files()}
    assert units == set(LEVEL), "list new files in FLOORS, where they belong"


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_up(path):
    mine = _name(path)
    for dotted in _imports(path):
        other = _unit(dotted)
        if other == "__version__" or other == mine:
            continue
        assert LEVEL[other] <= LEVEL[mine], f"{path} imports {dotted}"


def test_no_cycle_between_units():
    graph = {}
    for path in _files():
        found = {_unit(dotted) for dotted in _imports(path)} - {_name(path)}
        graph.setdefault(_name(path), set()).update(found & set(LEVEL))
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, " -> ".join([*open_, name])
        if name in done:
            return
        open_.append(name)
        for other in graph.get(name, ()):
            visit(other)
        done.add(open_.pop())

    for name in graph:
        visit(name)


@pytest.mark.parametrize("kind", PLUGINS)
def test_a_plugin_never_imports_a_sibling(kind):
    for path in (ROOT / "mia_jax" / kind).glob("[a-z]*.py"):
        for dotted in _imports(path):
            parts = dotted.split(".")
            is_sibling = parts[1] == kind and len(parts) > 2
            assert not is_sibling or parts[2].startswith("_"), f"{path}: {dotted}"


def test_the_store_needs_neither_jax_nor_pandas():
    for name in ("store", "_files", "_npy", "_manifests"):
        text = (ROOT / "mia_jax" / f"{name}.py").read_text()
        assert "import jax" not in text and "import pandas" not in text


def test_binaries_are_thin():
    for path in (ROOT / "experiments").glob("[a-z]*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "main":
                assert node.end_lineno - node.lineno <= 40, path
