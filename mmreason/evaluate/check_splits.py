"""``mmreason check-splits``: what is on both sides of a split, so that a test measures memory and not skill."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np

from encoders.media.errors import MediaError
from encoders.media.guarded import GuardedPool
from encoders.media.pictures import open_image
from mmreason.catalogue.index import CatalogueIndex, read_index
from mmreason.catalogue.split import read_split_rule
from mmreason.catalogue.tables import stream_table
from mmreason.database import Database
from mmreason.files import TEMPORARY, atomic_write
from mmreason.progress import track
from mmreason.readers.source import inside
from mmreason.schema import DataError, Item, Split, item_text

SHINGLE = 5
"""Characters of a shingle: short enough for Chinese, long enough for English."""

MIN_TEXT = 20
"""Texts of fewer characters ("Love it!") are alike by chance and only compared whole, not for nearness."""

HASH_BITS = 64
PERMUTATIONS = 128
RECALL = 0.7
"""At its threshold LSH misses about half of the candidates, so it is asked for less similar ones than are reported."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Two things on different sides that should not be.

    Attributes:
        kind: What they share, as in the report.
        one: Id, and side, of the first.
        other: Of the second.
        detail: What shows it, e.g. the picture's path or the similarity.
    """

    kind: str
    one: str
    one_split: Split
    other: str
    other_split: Split
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text, whose it is, its side, and what it may be like: others of its group."""

    text: str
    name: str
    split: Split
    group: str


def check_splits(
    run_dir: str, fail: bool = False, similarity: float = 0.8, image_distance: int = 4, examples: int = 3
) -> str:
    """Report what crosses the splits of a run's catalogue.

    Looks for user-item pairs that are targets on two sides, for the same or nearly the same item (its text, its
    media's bytes, its pictures' perceptual hashes; items of one group that are apart), and for the same or nearly the
    same reason or review text. All that is found is written to ``<run_dir>/catalogue/crossings.jsonl``.

    Args:
        run_dir: Folder of the run.
        fail: Exit with an error if anything crosses.
        similarity: Jaccard similarity of character shingles from which two texts are nearly the same.
        image_distance: Bits of 64 in which the perceptual hashes of nearly the same pictures may differ.
        examples: Crossings of each kind to show.

    Returns:
        Counts and first examples by kind.

    Raises:
        DataError: If there is no catalogue, or ``fail`` is set and something crosses.
    """
    if not 0 < similarity <= 1 or not 0 <= image_distance < HASH_BITS // 2:
        raise DataError(
            f"similarity {similarity} must be in (0, 1], image_distance {image_distance} in 0 to 31"
        )
    folder = Path(run_dir, "catalogue")
    # Where items are not what is split, the same item is meant to be on every side.
    by_item = "item" in read_split_rule(folder).by
    index = read_index(folder)
    with Database(folder, folder / (TEMPORARY + "crossings")) as database:
        for name, path in index.paths.items():
            database.view(name, path, numbered=True)
        found = [*pairs(database), *(_items(index, similarity, image_distance) if by_item else ())]
        found += review_texts(database, similarity)
        sides = {name: _count_sides(database, name) for name in ("items", "reasons")}
    with atomic_write(folder / "crossings.jsonl") as file:
        file.writelines(
            json.dumps(asdict(crossing), ensure_ascii=False).encode() + b"\n" for crossing in found
        )
    report = _report(sides, found, examples, by_item)
    if fail and found:
        first = _line(found[0])
        raise DataError(
            f"{len(found)} crossings of the splits in {folder / 'crossings.jsonl'}, first {first}"
        )
    return report


def _items(index: CatalogueIndex, similarity: float, image_distance: int) -> Iterator[Crossing]:
    """What crosses a split by item."""
    path = index.paths["items"]
    yield from groups(stream_table(path, Item))
    yield from item_texts(stream_table(path, Item), similarity)
    items = track(stream_table(path, Item), "hash media", total=index.counts["items"])
    yield from media(items, index.media_root, image_distance)


def pairs(database: Database) -> Iterator[Crossing]:
    """Pairs that are targets on two sides; that no training history shows held-out ones, packing sees to."""
    query = """
        SELECT user_id, item_id, split FROM reasons SEMI JOIN (
            SELECT user_id, item_id FROM reasons GROUP BY ALL HAVING count(DISTINCT split) > 1
        ) crossing USING (user_id, item_id) ORDER BY file_row_number
    """
    targets = ((_pair(row[:2]), _pair(row[:2]), row[2]) for row in _rows(database, query))
    yield from _on_two_sides("pair is a target on two sides", targets)


def groups(items: Iterable[Item]) -> Iterator[Crossing]:
    """Variants of one product on two sides."""
    yield from _on_two_sides("group of variants", ((item.group, item.id, item.split) for item in items))


def item_texts(items: Iterable[Item], similarity: float) -> Iterator[Crossing]:
    """Items of different groups with the same, or nearly the same, title, description and attributes."""
    rows = [_Text(item_text(item), item.id, item.split, item.group) for item in items]
    yield from _similar_texts("item text", rows, similarity)


def media(items: Iterable[Item], root: Path, distance: int) -> Iterator[Crossing]:
    """Items with the same media file, byte for byte, or nearly the same picture.

    Each picture is compared once for each side that shows it, however many items do.

    Args:
        items: Gone through once.
        root: Folder that their media are relative to.
        distance: Bits in which the perceptual hashes of nearly the same pictures may differ.
    """
    digests: list[tuple[Hashable, str, Split]] = []
    owners: deque[tuple[str, Split, str]] = deque()  # of the pictures that are being hashed

    def pictures() -> Iterator[str]:
        for item in items:
            for name in (*item.images, *([item.video] if item.video else [])):
                path = inside(root, name)
                if not path.is_file():
                    continue
                with path.open("rb") as file:
                    digests.append((hashlib.file_digest(file, "sha256").digest(), item.id, item.split))
                if name in item.images:
                    owners.append((item.id, item.split, name))
                    yield str(path)

    shown: dict[int, dict[Split, tuple[str, str]]] = {}  # hash → side → its first item with it, and the file
    with GuardedPool(_picture_hash) as pool:
        for code in pool.map(pictures()):
            item_id, split, name = owners.popleft()
            if isinstance(code, int):
                shown.setdefault(code, {}).setdefault(split, (item_id, name))
    exact = list(_on_two_sides("media file", digests))
    yield from exact
    known = {frozenset((c.one, c.other)) for c in exact}
    for one, one_split, other, other_split, detail in _similar_pictures(shown, distance):
        if frozenset((one, other)) not in known:
            known.add(frozenset((one, other)))
            yield Crossing("picture nearly the same", one, one_split, other, other_split, detail)


def _similar_pictures(
    shown: dict[int, dict[Split, tuple[str, str]]], distance: int
) -> Iterator[tuple[str, Split, str, Split, str]]:
    """Items on two sides with nearly the same picture, and what shows it."""
    codes = list(shown)
    near = near_codes(np.array(codes, dtype=np.uint64), distance)
    for i, j, bits in chain(((i, i, 0) for i in range(len(codes))), near):
        for one_split, (one, name) in shown[codes[i]].items():
            for other_split, (other, other_name) in shown[codes[j]].items():
                if one_split < other_split if i == j else one_split != other_split:
                    detail = f"{name} and {other_name} differ in {bits} of {HASH_BITS} bits"
                    yield one, one_split, other, other_split, detail


def review_texts(database: Database, similarity: float) -> Iterator[Crossing]:
    """Reasons, and reviews of the pairs they are about, with the same or nearly the same text."""
    reasons = "SELECT user_id, item_id, text, split FROM reasons ORDER BY file_row_number"
    reviews = """
        SELECT user_id, item_id, text, side FROM interactions JOIN (
            SELECT user_id, item_id, arg_max(split, file_row_number) AS side FROM reasons GROUP BY ALL
        ) targets USING (user_id, item_id) WHERE text <> '' ORDER BY file_row_number
    """
    rows = chain(_rows(database, reasons), _rows(database, reviews))
    texts = [_Text(text, _pair((user, item)), side, _pair((user, item))) for user, item, text, side in rows]
    yield from _similar_texts("reason or review text", texts, similarity)


def _rows(database: Database, query: str) -> Iterator[tuple[Any, ...]]:
    for batch in database.stream(query, 8192):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _on_two_sides(kind: str, rows: Iterable[tuple[Hashable, str, Split]]) -> Iterator[Crossing]:
    """Rows (key, id, side) with one key on two sides; one crossing a key and further side."""
    first: dict[Hashable, dict[Split, str]] = {}
    for key, name, side in rows:
        sides = first.setdefault(key, {side: name})
        if side not in sides:
            one_side, one = next(iter(sides.items()))
            sides[side] = name
            yield Crossing(kind, one, one_side, name, side)


def _similar_texts(kind: str, rows: list[_Text], similarity: float) -> Iterator[Crossing]:
    """Texts that are the same, or nearly the same, on two sides: at most one crossing of either a text."""
    seen: set[frozenset[str]] = set()
    words = ((_normal(row.text), row.name, row.split) for row in rows)
    for crossing in _on_two_sides(f"{kind} the same", (row for row in words if row[0])):
        seen.add(frozenset((crossing.one, crossing.other)))
        yield crossing
    distinct = list({(_normal(row.text), row.split): row for row in reversed(rows)}.values())
    for one, other, value in _near_duplicates(distinct, similarity, kind):
        if frozenset((one.name, other.name)) not in seen:
            seen.add(frozenset((one.name, other.name)))
            detail = f"{value:.0%} alike"
            yield Crossing(f"{kind} nearly the same", one.name, one.split, other.name, other.split, detail)


def _near_duplicates(rows: list[_Text], similarity: float, kind: str) -> Iterator[tuple[_Text, _Text, float]]:
    """Texts on two sides with at least so similar shingles: candidates by MinHash LSH, then counted exactly."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=RECALL * similarity, num_perm=PERMUTATIONS)
    shingles: dict[int, frozenset[bytes]] = {}
    for i, row in enumerate(track(rows, f"compare {kind}", "text")):
        if len(row.text) < MIN_TEXT:
            continue
        own = shingles[i] = _shingles(_normal(row.text))
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch(sorted(own))
        for j in sorted(index.query(sketch)):
            if rows[j].split != row.split and rows[j].group != row.group:
                value = len(own & shingles[j]) / len(own | shingles[j])
                if value >= similarity:
                    yield rows[j], row, value
                    break
        index.insert(i, sketch)


def _shingles(text: str) -> frozenset[bytes]:
    return frozenset(text[i : i + SHINGLE].encode() for i in range(max(len(text) - SHINGLE, 0) + 1))


def _normal(text: str) -> str:
    """A text in lower case without punctuation, so that only its words are compared."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def _picture_hash(path: str) -> int | None:
    """The 64-bit perceptual hash (pHash, library imagehash); None if the picture cannot be read."""
    import imagehash

    try:
        return int(str(imagehash.phash(open_image(path, min_side=256).convert("L"))), 16)
    except MediaError:
        return None


def near_codes(codes: np.ndarray, distance: int) -> Iterator[tuple[int, int, int]]:
    """Index pairs of 64-bit codes that differ in at most so many bits, and in how many.

    Of ``distance + 1`` bands of bits two such codes share one (pigeonhole), so only codes with an equal band are
    compared.
    """
    edges = np.linspace(0, HASH_BITS, distance + 2).astype(int)
    done: set[tuple[int, int]] = set()
    for low, high in pairwise(edges.tolist()):
        bands = (codes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        members: dict[int, list[int]] = defaultdict(list)
        for i, band in enumerate(bands.tolist()):
            members[band].append(i)
        for indices in members.values():
            for place, i in enumerate(indices[:-1]):
                later = np.array(indices[place + 1 :])
                bits = np.bitwise_count(codes[later] ^ codes[i])
                for j, n in zip(
                    later[bits <= distance].tolist(), bits[bits <= distance].tolist(), strict=True
                ):
                    if (i, j) not in done:
                        done.add((i, j))
                        yield i, j, n


def _count_sides(database: Database, table: str) -> str:
    counts = dict(_rows(database, f"SELECT split, count(*) FROM {table} GROUP BY split"))
    return " + ".join(f"{counts.get(split, 0):,} {split}" for split in get_args(Split))


def _report(sides: dict[str, str], found: list[Crossing], examples: int, by_item: bool) -> str:
    lines = [f"check-splits: {len(found):,} crossings; items {sides['items']}; reasons {sides['reasons']}"]
    if not by_item:
        lines.append(
            "  items are not what is split: the same item may be on every side and was not looked for"
        )
    for kind, count in Counter(crossing.kind for crossing in found).most_common():
        lines.append(f"  {count:,} {kind}")
        lines += [f"    {_line(c)}" for c in [c for c in found if c.kind == kind][:examples]]
    return "\n".join(lines)


def _line(crossing: Crossing) -> str:
    detail = f" ({crossing.detail})" if crossing.detail else ""
    return f"{crossing.one!r} {crossing.one_split} / {crossing.other!r} {crossing.other_split}{detail}"


def _pair(pair: tuple[str, str]) -> str:
    return f"{pair[0]} → {pair[1]}"
