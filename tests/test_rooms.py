"""The rooms keep their order: no import runs up, none in a circle, and no room or file grows too large to read."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest
from draw_architecture import (
    LAYERS,
    ORDER,
    ROOT,
    Import,
    imports,
    lines_of,
    modules,
    outside_imports,
    room_imports,
    room_lines,
    room_of,
)

ROOM_LINES, FILE_LINES, FUNCTION_LINES = 3500, 400, 50  # a function's without its docstring
MAY_NAME_ALL = {"mmreason", "mmreason.cli", "mmreason.pipeline", "mmreason.records"}
"""At the root and above all rooms: the public names, the verbs and the list of stages."""

# The list of readers names those of other rooms by text, as an entry point of another package would.
REGISTERED = {("mmreason.readers", "demo"), ("mmreason.readers", "shops")}
DATA_LOADER = "mmreason.shards.loader"  # torch's DataLoader runs its workers; it holds no model


def _level(room: str) -> int:
    return next(level for level, layer in enumerate(LAYERS) if room in layer)


def _between_rooms() -> Iterator[tuple[Import, str, str]]:
    for each in imports():
        above, below = room_of(each.importer), room_of(each.imported)
        if above and below and above != below:
            yield each, above, below


def test_every_room_has_its_place() -> None:
    assert {room_of(module) for module in modules()} - {""} == set(ORDER)


def test_no_import_runs_up() -> None:
    up = {
        (each.importer, below): each.where
        for each, above, below in _between_rooms()
        if _level(below) >= _level(above)
    }
    assert up.keys() == REGISTERED, up


def test_the_root_imports_no_room() -> None:
    found = {
        each.importer: each.where
        for each in imports()
        if not room_of(each.importer) and room_of(each.imported) not in ("", "media", "encoders")
    }
    assert not found.keys() - MAY_NAME_ALL, found


def test_encoders_stand_alone() -> None:
    rooms = ("media", "encoders")
    assert not [e.where for e in imports() if room_of(e.importer) in rooms and "mmreason" in e.imported]


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for each in imports():
        public = each.importer == "mmreason"  # its names are imported when first used
        if not (public or each.by_name):
            graph[each.importer].add(each.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_generate_knows_no_training() -> None:
    assert "training" not in room_imports()["generate"]


def test_data_rooms_know_no_models() -> None:
    models = {"torch", "torchvision", "transformers", "timm", "open_clip", "peft", "accelerate"}
    found = {
        module: outside_imports(module) & models
        for module in modules()
        if room_of(module) in ("catalogue", "demo", "store", "shards") and module != DATA_LOADER
    }
    assert not {module: names for module, names in found.items() if names}


def test_no_room_and_no_file_is_too_long() -> None:
    assert not {room: n for room, n in room_lines().items() if n > ROOM_LINES}
    long = {module: n for module in modules() if (n := lines_of(module)) > FILE_LINES}
    assert not long


def test_no_function_is_too_long() -> None:
    long = {}
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                if lines > FUNCTION_LINES:
                    long[f"{module}.{node.name}"] = lines
    assert not long


def test_importing_is_light() -> None:
    code = (
        "import mmreason, sys, time; seconds = time.process_time(); import mmreason.cli;"
        "print(seconds, 'torch' in sys.modules)"
    )
    seconds, torch = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert float(seconds) < 1 and torch == "False"  # of the processor, whatever else the machine does


def test_the_walk_in_the_docs_names_files_and_functions_that_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    walk = page.partition("## A walk")[2]
    steps = re.findall(r"`((?:mmreason|encoders)/[\w/]+\.py)`(?:: | \()?((?:`\w+`(?:, )?)*)", walk)
    assert len(steps) > 30
    visited = [file for file, _ in steps]
    assert len(visited) == len(set(visited)), "a step back"
    for file, names in steps:
        source = (ROOT / file).read_text(encoding="utf-8")
        for name in re.findall(r"\w+", names):
            assert re.search(rf"^(?:def |class )?{name}\b", source, re.MULTILINE), f"{file}: {name}"


def test_the_table_of_rooms_in_the_docs_has_the_imports_of_the_code() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    assert {room: set(re.findall(r"\w+", below)) for room, below in told} == room_imports()
