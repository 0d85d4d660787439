"""``mmreason check-splits``: what is on both sides of a split, so that a test measures memory and not skill."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
from tqdm import tqdm

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.check import MAX_PIXELS, PICTURE_FORMATS
from mmreason.catalogue.split import read_split_rule
from mmreason.files import whole_file
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
    catalogue = read_catalogue(folder)
    # Where items are not what is split, the same item is meant to be on every side.
    by_item = "item" in read_split_rule(folder).by
    found: list[Crossing] = list(pairs(catalogue))
    if by_item:
        items = catalogue.items.values()
        found += [*groups(items), *item_texts(items, similarity), *media(catalogue, image_distance)]
    found += review_texts(catalogue, similarity)
    with whole_file(folder / "crossings.jsonl") as file:
        file.writelines(
            json.dumps(asdict(crossing), ensure_ascii=False).encode() + b"\n" for crossing in found
        )
    report = _report(catalogue, found, examples, by_item)
    if fail and found:
        first = _line(found[0])
        raise DataError(
            f"{len(found)} crossings of the splits in {folder / 'crossings.jsonl'}, first {first}"
        )
    return report


def pairs(catalogue: Catalogue) -> Iterator[Crossing]:
    """Pairs that are targets on two sides; that no training history shows held-out ones, packing sees to."""
    sides: dict[tuple[str, str], Split] = {}
    for reason in catalogue.reasons:
        pair = (reason.user_id, reason.item_id)
        side = sides.setdefault(pair, reason.split)
        if side != reason.split:
            yield Crossing("pair is a target on two sides", _pair(pair), side, _pair(pair), reason.split)


def groups(items: Iterable[Item]) -> Iterator[Crossing]:
    """Variants of one product on two sides."""
    yield from _same("group of variants", ((item.group, item.id, item.split) for item in items))


def item_texts(items: Iterable[Item], similarity: float) -> Iterator[Crossing]:
    """Items of different groups with the same, or nearly the same, title, description and attributes."""
    rows = [_Text(item_text(item), item.id, item.split, item.group) for item in items]
    yield from _alike("item text", rows, similarity)


def media(catalogue: Catalogue, distance: int) -> Iterator[Crossing]:
    """Items of different groups with the same media file, byte for byte, or nearly the same picture."""
    digests: list[tuple[Hashable, str, Split]] = []
    pictures: list[tuple[int, Item, str]] = []
    for item in tqdm(catalogue.items.values(), desc="hash media", unit="item", disable=None):
        for name in (*item.images, *([item.video] if item.video else [])):
            path = catalogue.media(name)
            if not path.is_file():
                continue
            with path.open("rb") as file:
                digests.append((hashlib.file_digest(file, "sha256").hexdigest(), item.id, item.split))
            if name in item.images and (code := _picture_hash(path)) is not None:
                pictures.append((code, item, name))
    exact = list(_same("media file", digests))
    yield from exact
    known = {frozenset((c.one, c.other)) for c in exact}
    codes = np.array([code for code, _, _ in pictures], dtype=np.uint64)
    for i, j, bits in _near(codes, distance):
        (_, one, name), (_, other, other_name) = pictures[i], pictures[j]
        pair = frozenset((one.id, other.id))
        if one.split != other.split and pair not in known:
            known.add(pair)
            detail = f"{name} and {other_name} differ in {bits} of {HASH_BITS} bits"
            yield Crossing("picture nearly the same", one.id, one.split, other.id, other.split, detail)


def review_texts(catalogue: Catalogue, similarity: float) -> Iterator[Crossing]:
    """Reasons, and reviews of the pairs they are about, with the same or nearly the same text."""
    sides = {(reason.user_id, reason.item_id): reason.split for reason in catalogue.reasons}
    rows = [(reason.user_id, reason.item_id, reason.text, reason.split) for reason in catalogue.reasons]
    reviews = (i for i in catalogue.interactions if i.text and (i.user_id, i.item_id) in sides)
    rows += [(i.user_id, i.item_id, i.text, sides[i.user_id, i.item_id]) for i in reviews]
    texts = [_Text(text, _pair((user, item)), side, _pair((user, item))) for user, item, text, side in rows]
    yield from _alike("reason or review text", texts, similarity)


def _same(kind: str, rows: Iterable[tuple[Hashable, str, Split]]) -> Iterator[Crossing]:
    """Rows (key, id, side) with one key on two sides; one crossing a key and further side."""
    first: dict[Hashable, dict[Split, str]] = {}
    for key, name, side in rows:
        sides = first.setdefault(key, {side: name})
        if side not in sides:
            one_side, one = next(iter(sides.items()))
            sides[side] = name
            yield Crossing(kind, one, one_side, name, side)


def _alike(kind: str, rows: list[_Text], similarity: float) -> Iterator[Crossing]:
    """Texts that are the same, or nearly the same, on two sides: at most one crossing of either a text."""
    seen: set[frozenset[str]] = set()
    for crossing in _same(
        f"{kind} the same", ((_normal(r.text), r.name, r.split) for r in rows if _normal(r.text))
    ):
        seen.add(frozenset((crossing.one, crossing.other)))
        yield crossing
    distinct = list({(_normal(row.text), row.split): row for row in reversed(rows)}.values())
    for one, other, value in _near_texts(distinct, similarity, kind):
        if frozenset((one.name, other.name)) not in seen:
            seen.add(frozenset((one.name, other.name)))
            detail = f"{value:.0%} alike"
            yield Crossing(f"{kind} nearly the same", one.name, one.split, other.name, other.split, detail)


def _near_texts(rows: list[_Text], similarity: float, kind: str) -> Iterator[tuple[_Text, _Text, float]]:
    """Texts on two sides with at least so similar shingles: candidates by MinHash LSH, then counted exactly."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=RECALL * similarity, num_perm=PERMUTATIONS)
    shingles: dict[int, frozenset[bytes]] = {}
    for i, row in enumerate(tqdm(rows, desc=f"compare {kind}", unit="text", disable=None)):
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


def _picture_hash(path: Path) -> int | None:
    """The 64-bit perceptual hash (pHash, library imagehash); None if the picture cannot be read."""
    import imagehash
    from PIL import Image

    try:
        with Image.open(path, formats=PICTURE_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("L", (256, 256))
            return int(str(imagehash.phash(image.convert("L"))), 16)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _near(codes: np.ndarray, distance: int) -> Iterator[tuple[int, int, int]]:
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


def _report(catalogue: Catalogue, found: list[Crossing], examples: int, by_item: bool) -> str:
    sides = Counter(reason.split for reason in catalogue.reasons)
    items = Counter(item.split for item in catalogue.items.values())
    named = " + ".join(f"{items[s]:,} {s}" for s in get_args(Split))
    targets = " + ".join(f"{sides[s]:,} {s}" for s in get_args(Split))
    lines = [f"check-splits: {len(found):,} crossings; items {named}; reasons {targets}"]
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
