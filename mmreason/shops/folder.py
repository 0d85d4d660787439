"""What a folder holds: which file is taken for what, how sure that is, and why every other file is not used."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmreason.products import DOWNLOADS
from mmreason.readers.mapping import EMAIL, FIELDS, USER, TableMap
from mmreason.readers.rows import FORMATS, SAMPLE, format_of, read_rows, sample, sample_of
from mmreason.schema import DataError
from mmreason.shops.guess import Column, find, guess_items, guess_layout, guess_reasons, own_id
from mmreason.shops.guess_logs import NO_PART, guess_interactions, item_columns
from mmreason.shops.layouts import Layout
from mmreason.shops.orders import BOUGHT, ITEM, NO_ID, find_joins, item_keys, lists_products
from mmreason.shops.plumbing import is_telling
from mmreason.shops.systems import LAYOUTS
from mmreason.values import is_nothing

_NAMED = 3  # media files of a folder that are named; the others are counted
_WAYS = 3  # columns that name items, of which a line may leave the first empty
_SHOWN = 30  # left-out columns, and files, that get a line of their own
_MOST_TABLES = 1_000  # files of a folder whose columns are looked at
LOOKED_ON = 50_000  # rows in which columns are looked for that the first rows do not have
_COUNTED = re.compile(  # numbers and months: what names of parts differ in
    r"(?i)(?:[\d_() -]|(?<![a-z])(?:jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|mär(?:z)?|apr(?:il)?|may|mai|june?|"
    r"juni|july?|juli|aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?|q[1-4])(?![a-z]))+"
)
_GUESSES = {
    "items": guess_items,
    "interactions": guess_interactions,
    "reviews": guess_interactions,
    "reasons": guess_reasons,
}


@dataclass(slots=True)
class Candidate:
    """A file that may be a table of the catalogue.

    Attributes:
        path: The file.
        columns: Column → its values in the first rows.
        kind: ``items``, ``interactions`` or ``reasons``.
        sure: How sure that is, 0 to 1.
        why: How it was told, in words.
        layout: The shop system whose export it is, if it is one.
    """

    path: Path
    columns: dict[str, list[Any]]
    kind: str
    sure: float
    why: str
    layout: Layout | None = None


@dataclass(slots=True)
class Survey:
    """What was found.

    Attributes:
        tables: The mapping.
        columns: Kind → a word on each column of its file.
        files: A line a file: what it was taken for, or why it is not used.
    """

    tables: dict[str, TableMap] = field(default_factory=dict)
    columns: dict[str, list[Column]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = list(self.files)
        for kind, columns in self.columns.items():
            lines.append(f"{self.tables[kind].file}: {len(columns):,} columns of the {kind}")
            left = [column for column in columns if column.use.startswith("left out")]
            shown = {id(column) for column in left[:_SHOWN]}
            lines += [str(c) for c in columns if not c.use.startswith("left out") or id(c) in shown]
            more = Counter(column.use for column in left[_SHOWN:])
            lines += [f"  {count:,} more columns {use}" for use, count in more.items()]
        return "\n".join(lines)


def survey(root: Path, only: str = "") -> Survey:
    """Look at a folder's files and columns.

    Args:
        root: The folder, or the file of items alone.
        only: A layout's name: items are taken from such an export only.

    Raises:
        DataError: If the folder is not there, or holds no table of items.
    """
    if not root.exists():
        raise DataError(f"catalogue.root {root} is not a folder")
    made, found = Survey(), []
    tables = _tables(root)
    unused: dict[str, list[str]] = {}
    for path in tables[:_MOST_TABLES]:
        try:
            candidate = _candidate(path, only)
        except DataError as error:
            candidate = str(error).replace(str(path), "it")
        if isinstance(candidate, str):
            unused.setdefault(candidate, []).append(path.name)
        else:
            found.append(candidate if root.is_dir() else replace(candidate, kind="items"))
    if more := [path.name for path in tables[_MOST_TABLES:]]:
        unused[f"only {_MOST_TABLES:,} tables are looked at; name it in a mapping"] = more
    others = [f"{_some(names)}: not used; {why}" for why, names in unused.items()]
    made.files += others[:_SHOWN]
    if left := sum(map(len, [*unused.values()][_SHOWN:])):
        made.files.append(f"{left:,} more files: not used; no tables of a catalogue")
    if root.is_dir():
        made.files += _other_files(root, tables)
    _choose(root, found, made, only)
    return made


def _tables(root: Path) -> list[Path]:
    """The folder's files that may be tables, by formats and names; of too many, likely names first."""
    endings = [*FORMATS, "xml", "xml.gz"]
    if root.is_file():
        return [root]
    with os.scandir(root) as entries:
        named = [(name, _ending(name, endings)) for name in (e.name for e in entries if e.is_file())]
    ordered = sorted((endings.index(ending), name) for name, ending in named if ending)
    if len(ordered) > _MOST_TABLES:
        ordered.sort(key=lambda each: _LIKELY.search(each[1].lower()) is None)
    return [root / name for _, name in ordered]


_LIKELY = re.compile(rf"item|product|catalog|interaction|reason|{BOUGHT.pattern}")


def _ending(name: str, endings: Iterable[str]) -> str:
    return max((e for e in endings if name.lower().endswith(f".{e}")), key=len, default="")


def _candidate(path: Path, only: str) -> Candidate | str:
    """What a file may be, or why it is nothing."""
    feed = LAYOUTS["google_merchant"]
    is_xml = bool(_ending(path.name, ("xml", "xml.gz")))
    layouts = [
        layout for layout in LAYOUTS.values() if only in ("", layout.name) and (layout is feed or not is_xml)
    ]
    columns = sample_of(feed.read(path)) if is_xml else sample(path)
    layout = max(layouts, key=lambda layout: layout.likeness(columns), default=None)
    if layout is not None and (sure := layout.likeness(columns)):
        known = sum(layout.plain(column) in layout.known for column in columns)
        why = f"a {layout.title}: {known} of its {len(columns)} columns are such"
        return Candidate(path, columns, "items", sure, why, layout)
    stem = path.name.split(".")[0].lower()
    users, items = find(columns, [*USER, *EMAIL]), find(columns, ITEM) or own_id(columns)
    if stem in FIELDS and not (only and stem == "items") and (stem != "reviews" or (users and items)):
        return Candidate(path, columns, stem, 1.0, "by the file's name")
    if users and items:
        told = find(columns, FIELDS["reviews"]["text"]) or find(columns, FIELDS["reviews"]["rating"])
        is_review = told and not BOUGHT.search(path.name.lower())
        kind = (
            "reasons"
            if find(columns, ["reason", "explanation"])
            else "reviews"
            if is_review
            else "interactions"
        )
        return Candidate(path, columns, kind, 0.9, f"by its columns {users} and {items}")
    if users and any(map(lists_products, columns.values())):
        return Candidate(path, columns, "interactions", 0.8, "its cells list the products of orders")
    number = find(columns, FIELDS["items"]["id"]) or own_id(columns)
    if number and not find(columns, USER) and not only:
        good = sum(find(columns, FIELDS["items"][name]) is not None for name in ("title", "text", "images"))
        telling = any(map(is_telling, columns))
        return Candidate(path, columns, "items", 0.3 + 0.15 * good + 0.1 * telling, f"by its column {number}")
    if len(columns) < 2:
        return "it is no table" if columns else "it has no rows"
    named = ", ".join(name[:40] for name in list(columns)[:12])
    return (
        f"it names users and no items ({named})" if users else f"no column looks like an item's id ({named})"
    )


def _choose(root: Path, found: list[Candidate], made: Survey, only: str) -> None:
    """Take the likeliest file of each kind, and name the others."""
    folder = root.parent if root.is_file() else root
    for kind, guess in _GUESSES.items():
        rivals = sorted((c for c in found if c.kind == kind), key=_rank, reverse=True)
        if not rivals and kind == "items":
            raise _no_items(root, found, made, only)
        if not rivals:
            continue
        best = rivals[0]
        parts = [rival for rival in rivals if _is_part(rival, best)]
        files = _pattern([part.path for part in parts])
        if not files:
            parts, files = [best], best.path.name
        if best.layout is not None:
            paths = sorted(part.path for part in parts)
            table, made.columns[kind] = guess_layout(paths, best.layout, best.columns)
        else:
            columns = _of_all(best, parts)
            table, made.columns[kind] = guess(
                best.path, _later(best.path, columns) if kind == "items" else columns
            )
        made.tables[kind] = replace(table, file=files)
        several = f" ({len(parts)} files)" if len(parts) > 1 else ""
        said = f"{files}{several}: {kind}, {best.why} ({_word(best.sure)})"
        if kind in ("interactions", "reviews"):
            said += _join(folder, made, best)
        made.files.insert(0, said)
        made.files += [
            f"{rival.path.name}: not used; "
            + (
                f"it holds rows of {best.path.name}"
                if _holds_the_same(rival, best)
                else f"it could be the {kind}, too, and {best.path.name} is likelier"
            )
            for rival in rivals
            if rival not in parts
        ]


def _no_items(root: Path, found: Iterable[Candidate], made: Survey, only: str) -> DataError:
    wanted = "items.parquet, items.csv or items.jsonl, nor a table with an id column"
    there = [f"{other.path.name}: {other.kind}, {other.why}, and no items to go with" for other in found]
    return DataError(
        f"{root} holds no {LAYOUTS[only].title if only else wanted}; name the table in a --catalogue.options.mapping "
        "file" + "".join(f"; {line}" for line in [*there, *made.files][:5])
    )


def _of_all(best: Candidate, parts: Iterable[Candidate]) -> dict[str, list[Any]]:
    """The columns of a file with those that only other parts of it have."""
    columns = dict(best.columns)
    for part in parts:
        columns |= {name: values for name, values in part.columns.items() if name not in columns}
    return columns


def _later(path: Path, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns with those that begin, or say anything, only behind the rows that were looked at."""
    silent = {name for name, values in columns.items() if all(map(is_nothing, values))}
    if format_of(path) not in ("json", "jsonl", "ndjson") and not silent:
        return columns
    late: dict[str, list[Any]] = {}
    rows = 0
    for row in islice(read_rows(path), SAMPLE, LOOKED_ON):
        rows += 1
        if not row.problem and (row.record.keys() - columns.keys() or silent):
            for name, value in row.record.items():
                if (name in silent or name not in columns) and not is_nothing(value):
                    late.setdefault(name, []).append(value)
    return columns | {
        name: [*values, *[None] * (rows + SAMPLE - len(values))] for name, values in late.items()
    }


def _is_part(rival: Candidate, best: Candidate) -> bool:
    """Whether a file is another part of an export: its name differs in a number or month, it may have more columns."""
    if rival is not best and _holds_the_same(rival, best):
        return False
    names = [_COUNTED.sub("", candidate.path.name.lower()) for candidate in (rival, best)]
    one, other = rival.columns.keys(), best.columns.keys()
    same = rival.layout is best.layout and (best.layout is not None or one <= other or other <= one)
    return names[0] == names[1] and same


def _holds_the_same(rival: Candidate, best: Candidate) -> bool:
    """Whether most rows of a file that were looked at are in the other one, too: a second download, not a part."""
    if [*rival.columns] != [*best.columns]:
        return False
    rows, others = ({*map(str, zip(*c.columns.values(), strict=False))} for c in (rival, best))
    return len(rows & others) > max(2, len(rows) / 2)


def _pattern(paths: list[Path]) -> str:
    """A pattern that matches just these files of a folder; empty if there is none."""
    if len(paths) == 1:
        return paths[0].name
    patterns = (_COUNTED.sub("*", path.name) for path in paths)
    pattern = max(patterns, key=lambda pattern: pattern.count("*"))
    return pattern if set(paths[0].parent.glob(pattern)) == set(paths) else ""


def _rank(candidate: Candidate) -> tuple[bool, float, bool]:
    bought = candidate.kind == "interactions" and BOUGHT.search(candidate.path.name.lower()) is not None
    return candidate.layout is not None, candidate.sure, bought


def _word(sure: float) -> str:
    return "sure" if sure > 0.8 else "likely" if sure > 0.5 else "a guess"


def _join(folder: Path, made: Survey, orders: Candidate) -> str:
    """Find by which id the interactions name the items; puts it into their mapping and says it."""
    table = made.tables[orders.kind]
    values = item_columns(table, orders.columns)
    joins = find_joins(values, item_keys(folder, made.tables["items"])) if values else []
    if not joins:
        return (
            f"; none of its {', '.join(values) or 'columns'} is what the items have as an id"
            if values
            else ""
        )
    certain = joins[0].share == 1 and NO_ID.isdisjoint(values[joins[0].column])
    good = joins[:1] if certain else joins[:_WAYS]
    sources = [join.source() for join in good]
    table.fields["item_id"] = sources[0] if len(sources) == 1 else sources
    made.columns[orders.kind] = [
        replace(column, use="item_id") if column.name in {join.column for join in good} else
        replace(column, use=NO_PART) if column.use == "item_id" else column
        for column in made.columns[orders.kind]
    ]  # fmt: skip
    return "".join(
        f"; {join.column} is the items' {join.key} in {join.share:.0%} of those looked at" for join in good
    )


def _other_files(root: Path, tables: Iterable[Path]) -> list[str]:
    """The files that are no tables of this folder: a line an ending, with what may become of them."""
    there = {path.name for path in tables}
    others: dict[str, list[str]] = {}
    for folder, folders, names in os.walk(root):
        at = os.path.relpath(folder, root)
        if at == ".":
            folders[:] = [name for name in folders if name != DOWNLOADS]
            names = [name for name in names if name not in there]
        for name in names:
            others.setdefault(Path(name).suffix.lower(), []).append(name if at == "." else f"{at}/{name}")
    lines = [f"{_some(sorted(names))}: {_said(ending)}" for ending, names in sorted(others.items())]
    more = sum(len(names) for _, names in sorted(others.items())[_SHOWN:])
    return [*lines[:_SHOWN], *([f"{more:,} more files: not used; no tables"] if more else [])]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


_MEDIA = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jfif",
        ".png",
        ".gif",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".jp2",
        ".ico",
        ".ppm",
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".ts",
        ".mts",
        ".wmv",
        ".mpg",
        ".mpeg",
        ".flv",
        ".3gp",
    ]
)


def _said(ending: str) -> str:
    if ending in _MEDIA:
        return "pictures or videos, used where a row names them"
    if _ending(f"x{ending}", FORMATS):
        return "not used; tables are looked for in the folder itself"
    return "not used; no table"
