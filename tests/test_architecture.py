"""The house and its rooms: which module may import which, how long files are, and that everything says what it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    [
        "printable",
        "errors",
        "argument_types",
        "optional",
        "threads",
        "allocator",
        "environment",
        "replacing",
        "file_names",
        "csv_text",
        "storage",
        "yaml_text",
        "streams",
        "console",
        "terminal",
        "entry",
        "attempts",
        "ordering",
        "draws_compiled",
        "draws",
        "geometry",
        "carried",
        "hit_checks",
        "hits",
        "voxels",
        "images",
        "robots",
    ],
    ["config", "config_files", "documents"],
    ["io", "simulate", "degrade", "data"],
    ["oracle", "tracking", "nn", "losses", "metrics", "classical", "recover", "precision", "weights", "thresholds"],
    ["record", "runs", "results", "shipped", "trained"],
    ["inference", "training", "analysis", "benchmark"],
    ["visual"],
    ["tools"],
]
"""A module imports only from rows above its own, or from its own row to its left."""
PLACE = {room: (row, column) for row, rooms in enumerate(ROWS) for column, room in enumerate(rooms)}
NOT_FOR = {
    "training": ["analysis", "benchmark", "visual"],
    "visual": ["nn", "training", "inference", "analysis", "weights"],
    "config": ["torch"],
    "config_files": ["torch"],
}
"""What a room must not import, whatever the rows say."""
VISUAL = ["colours", "scene", "pictures", "plots", "pages", "windows", "files", "engines"]
"""Rooms of ``visual``, each of which imports only from itself and from those to its left."""
SOURCES = sorted(path for room in ("pointae", "visual", "tools") for path in (ROOT / room).rglob("*.py"))
named = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def room_of(module: str) -> str:
    """``pointae.nn.sparse.levels`` -> ``nn``, ``visual.scene`` -> ``visual``, ``torch.nn`` -> ``torch``."""
    parts = module.split(".")
    return parts[1] if parts[0] == "pointae" and len(parts) > 1 else parts[0]


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Line and module of every import, in functions too, but not of those for type checkers only."""
    found = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import"
            names = [str(node.module)]
            if node.module == "pointae":  # `from pointae import draws` imports a module
                names = [f"pointae.{alias.name}" for alias in node.names if alias.name != "__version__"]
            found.extend((node.lineno, name) for name in names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def room_of_file(path: Path) -> str:
    return room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


def test_every_room_has_its_place():
    assert {room_of_file(path) for path in SOURCES} - {"__init__"} <= set(PLACE)


@named
def test_imports_point_one_way(path):
    own = room_of_file(path)
    for line, module in imports_of(path):
        room = room_of(module)
        assert room not in NOT_FOR.get(own, ()), f"{path.name}:{line}: {own} must not import {module}"
        if module.split(".")[0] in ("pointae", "visual", "tools") and room != own:
            (row, column), (own_row, own_column) = PLACE[room], PLACE[own]
            above_or_left = row < own_row or (row == own_row and column < own_column)
            assert above_or_left, f"{path.name}:{line}: {own} must not import {module}"


@pytest.mark.parametrize("path", sorted((ROOT / "visual" / room) for room in VISUAL), ids=lambda path: path.name)
def test_rooms_of_visual_import_one_way(path):
    for source in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
        for line, module in imports_of(source):
            if module.startswith("visual."):
                room = module.split(".")[1]
                assert VISUAL.index(room) <= VISUAL.index(path.name), f"{source.name}:{line}: must not import {module}"


@named
def test_files_are_short(path):
    longest = 80 if path.parent.name == "tools" else 350
    assert len(path.read_text(encoding="utf-8").splitlines()) <= longest


@named
def test_everything_public_says_what_it_is(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    if path.parent.name == "tools":  # `main` is told by its module
        return
    public = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"]
    for kind in [node for node in public if isinstance(node, ast.ClassDef) and not node.bases]:
        public += [node for node in kind.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    # What a protocol says of a method holds for the classes of its file.
    told = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and ast.get_docstring(node)}
    assert [node.name for node in public if not ast.get_docstring(node) and node.name not in told] == []


def test_a_wrong_arrow_is_seen(tmp_path):
    source = "import torch\nif TYPE_CHECKING:\n    import visual\ndef f():\n    from pointae import nn, draws\n"
    (tmp_path / "a.py").write_text(source)
    assert imports_of(tmp_path / "a.py") == [(1, "torch"), (5, "pointae.nn"), (5, "pointae.draws")]
    assert [room_of(m) for m in ("pointae.nn.sparse.levels", "visual.scene", "torch.nn")] == ["nn", "visual", "torch"]
