"""Draw how the rooms of the code import each other.

    python docs/draw_architecture.py

writes ``docs/architecture.svg`` and the table between the markers in ``docs/architecture.md``. It reads the source
files and runs none of them; ``tests/test_rooms.py`` holds the order of the rooms with the same functions.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    ("media",),
    ("encoders",),
    ("readers",),
    ("shops",),
    ("catalogue",),
    ("demo",),
    ("store",),
    ("shards",),
    ("training",),
    ("embed",),
    ("align", "users"),
    ("decoding",),
    ("bulk",),
    ("safety",),
    ("reviews", "probes"),
    ("evidence",),
    ("concepts",),
    ("wording",),
    ("targets",),
    ("verify",),
    ("reason",),
    ("generate",),
    ("evaluate",),
)
"""The rooms from the ground up: a room imports rooms of lower layers only."""

ORDER = tuple(room for layer in LAYERS for room in layer)
MARKERS = ("<!-- rooms -->\n", "<!-- end of rooms -->\n")


@dataclass(frozen=True)
class Import:
    """One module names another.

    Attributes:
        importer: Dotted name of the module that imports.
        imported: Dotted name of the module that is imported.
        where: File and line.
        by_name: Whether it stands in a text such as ``"mmreason.demo.reader:read"``, for ``import_module``.
    """

    importer: str
    imported: str
    where: str
    by_name: bool = False


@cache
def modules() -> dict[str, Path]:
    """All modules of both packages: dotted name → file."""
    found = {}
    for package in ("encoders", "mmreason"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """The room of a module; empty for those at the root, which every room may use.

    Example:
        >>> room_of("mmreason.align.losses.infonce"), room_of("encoders.image"), room_of("mmreason.schema")
        ('align', 'encoders', '')
    """
    package, *rest = module.split(".")
    if package == "encoders":
        return "media" if rest[:1] == ["media"] else "encoders"
    if rest[:2] == ["generate", "verify"]:
        return "verify"
    return rest[0] if rest and (ROOT / package / rest[0]).is_dir() else ""


@cache
def imports() -> list[Import]:
    """Every import of one of our modules by another, also inside functions and under ``TYPE_CHECKING``.

    What only a type checker reads counts, too: who reads the module must know the other one all the same.
    """
    return [found for module, path in modules().items() for found in imports_of(module, path)]


def imports_of(module: str, path: Path) -> Iterator[Import]:
    """The imports in one file."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for name in _imported(node, package):
            by_name = isinstance(node, ast.Constant)
            known = _module(name)
            if known and known != module and (known == name or not by_name):
                yield Import(module, known, where, by_name)


def _imported(node: ast.AST, package: str) -> list[str]:
    """Dotted names that a node imports; they may end in a function or a class."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.findall(r"^(mmreason(?:\.\w+)+)(?::\w+)?$", node.value)
    return []


def _module(name: str) -> str:
    """The module of a dotted name; empty if it is not ours."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name


def outside_imports(module: str) -> set[str]:
    """Packages of others that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - {"mmreason", "encoders"}


@cache
def room_imports() -> dict[str, set[str]]:
    """Room → the rooms that it imports; what it only names in a text, for a registry, is no import."""
    found: dict[str, set[str]] = {room: set() for room in ORDER}
    for each in imports():
        above, below = room_of(each.importer), room_of(each.imported)
        if above and below and above != below and not each.by_name:
            found[above].add(below)
    return found


def lines_of(module: str) -> int:
    """Lines of a module's file, comments and blank lines included."""
    return modules()[module].read_text(encoding="utf-8").count("\n")


def room_lines() -> dict[str, int]:
    """Room → lines of its files."""
    return {room: sum(lines_of(m) for m in modules() if room_of(m) == room) for room in ORDER}


def purpose(room: str) -> str:
    """The first sentence of what the room says of itself."""
    within = {"encoders": "encoders", "media": "encoders.media", "verify": "mmreason.generate.verify"}
    module = within.get(room, f"mmreason.{room}")
    said = ast.get_docstring(ast.parse(modules()[module].read_text(encoding="utf-8"))) or ""
    return said.split("\n\n")[0].replace("\n", " ").rstrip(".")


def table() -> str:
    """The rooms from the ground up as a Markdown table."""
    lines = ["| room | what it holds | files | lines | imports |", "| --- | --- | --- | --- | --- |"]
    for room, count in room_lines().items():
        files = sum(room_of(m) == room for m in modules())
        below = ", ".join(r for r in ORDER if r in room_imports()[room]) or "–"
        lines.append(f"| `{room}` | {purpose(room)} | {files} | {count:,} | {below} |")
    return "\n".join(lines) + "\n"


def skipping() -> set[tuple[str, str]]:
    """Imports between rooms that a longer way also makes: drawn thin."""
    below = room_imports()
    reach = {room: set(rooms) for room, rooms in below.items()}
    for room in ORDER:  # from the ground up: what is reached through lower rooms is known already
        reach[room].update(*(reach[near] for near in below[room]))
    return {(a, b) for a in below for b in below[a] if any(b in reach[c] for c in below[a] - {b})}


def draw(path: Path) -> None:
    """Draw the rooms as a stack, with an arc from each room down to every room that it imports."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "rooms", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(11, 0.68 * len(ORDER)))
    axes.set(xlim=(0, 11), ylim=(-0.6, len(ORDER) - 0.4))
    axes.axis("off")
    for height, room in enumerate(ORDER):
        _draw_room(axes, room, height)
    thin = skipping()
    for above, below in room_imports().items():
        for other in sorted(below):
            _draw_arrow(axes, ORDER.index(above), ORDER.index(other), (above, other) in thin)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None}, facecolor="white")


def _draw_room(axes: Any, room: str, height: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.12"
    axes.add_patch(
        FancyBboxPatch((0.1, height - 0.36), 6.9, 0.72, shape, lw=1, facecolor="#f6f4ee", edgecolor="#b9b3a4")
    )
    words = textwrap.shorten(purpose(room), 110, placeholder=" …")
    axes.text(0.3, height, room, fontsize=12.5, weight="bold", va="center", color="#1c1b19")
    axes.text(1.85, height, textwrap.fill(words, 55), fontsize=8, va="center", color="#57534a")
    count = f"{room_lines()[room]:,} lines"
    axes.text(6.85, height, count, fontsize=8.5, va="center", ha="right", color="#57534a")


def _draw_arrow(axes: Any, start: int, end: int, thin: bool) -> None:
    from matplotlib.patches import FancyArrowPatch

    up = end > start
    axes.add_patch(
        FancyArrowPatch(
            (7.05, start - (0 if up else 0.12)),
            (7.05, end + (0 if up else 0.16)),
            connectionstyle=f"arc3,rad={0.55 if up else -0.55}",
            arrowstyle="-|>",
            mutation_scale=10,
            lw=0.7 if thin else 1.8,
            color="#c62828" if up else "#cbc6b9" if thin else "#3b4cca",
            zorder=3 if up else 1 if thin else 2,
        )
    )


def main() -> None:
    """Write the drawing and the table."""
    page = ROOT / "docs" / "architecture.md"
    before, rest = page.read_text(encoding="utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    page.write_text(before + MARKERS[0] + table() + MARKERS[1] + after, encoding="utf-8")
    draw(page.with_suffix(".svg"))


if __name__ == "__main__":
    main()
