"""Which facts mean the same: spellings that share a concept.

Three steps, from sure to likely, each over distinct spellings and not over items:

1. one value in several spellings: case, hyphens, trademark signs, plurals, the order of a phrase's words;
2. one value under several attributes, where the items say so: those of ``type: Mugs`` are those of ``category: Mugs``,
   while ``color: orange`` and ``flavor: orange`` stay apart; a phrase that is an attribute's value is that value;
3. phrases written nearly alike, by character n-grams, which read any script; and phrases that say the same in other
   words, by a text encoder (:mod:`mmreason.concepts.synonyms`). A phrase joins the nearest one that is commoner, and
   never by way of a third, so that no chain grows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from mmreason.concepts.synonyms import Vectors, near_places, synonymous
from mmreason.concepts.wordforms import AND, are_forms, same_numbers
from mmreason.database import Database
from mmreason.evidence.lookup import write_rows
from mmreason.language import UNSPACED, phrase, singulars
from mmreason.readers.source import batches

ABOUT_ITEM = "source NOT IN ('relation', 'review')"
"""Facts that are values, not what others say of an item or take with it."""

FORMS = ("thing", "is", "does", "about")
"""Names of phrases, which are no attributes."""

COMPARED = 20_000
"""Phrases, the commonest ones, that are compared with each other."""

NEAR = 0.8
"""Cosine of character n-grams from which phrases mean the same."""

_SPELT = pa.schema({**dict.fromkeys(("spelling", "name", "key", "node"), pa.string()), "items": pa.int64()})
_PAIR = pa.schema({"here": pa.string(), "there": pa.string()})
_MEANING = pa.schema({"spelling": pa.string(), "concept_id": pa.string()})
_SIGNS, _PARTS = re.compile(r"[™®©℠]"), re.compile(r"[^\W_]+(?:['’.][^\W_]+)*%?")
_DIGIT = re.compile(r"\d")
_ARTICLES = frozenset(["a", "an", "the", "of", "for", "in", "its", "your"])


def key_of(name: str, value: str) -> str:
    """What spellings of one value have in common.

    Example:
        >>> key_of("material", "Cocona® Fabrics") == key_of("material", "cocona fabric")
        True
        >>> key_of("thing", "Hood, adjustable"), key_of("about", "a dog and a boy")
        ('adjustable hood', 'a dog and a boy')
        >>> key_of("thing", "Sturdy lid with a soft grip") == key_of("thing", "soft grip and sturdy lid")
        True
        >>> key_of("thing", "sturdy lid and soft grip") == key_of("thing", "soft lid and sturdy grip")
        False
    """
    plain = _SIGNS.sub("", phrase(value)).replace("&", " and ")
    if UNSPACED.search(plain):
        return "".join(_PARTS.findall(plain)) or plain
    words = _PARTS.findall(plain)
    if name not in ("about", "does") and not _DIGIT.search(
        plain
    ):  # a dog bites a man; 30 x 40 is not 40 x 30
        return AND.join(sorted(_parts_of(words))) or plain
    return " ".join(map(_singular, words)) or plain


def _parts_of(words: Sequence[str]) -> Iterator[str]:
    """What "and" or "with" join, each with its words in one order."""
    for joins, part in groupby(words, key=lambda word: word in ("and", "with")):
        said = [word for word in part if word not in _ARTICLES]
        if said and not joins:
            yield " ".join(map(_singular, sorted(set(said))))


@lru_cache(maxsize=65_536)
def _singular(word: str) -> str:
    return next(iter(singulars(word)), word)


def find_meaning(
    database: Database, folder: Path, known: Mapping[str, str], vectors: Vectors | None = None
) -> None:
    """Make the view ``meant``: the facts with their concepts.

    Args:
        database: With the view ``kept`` of facts.
        folder: For the view's files.
        known: Spelling → concept that it has already: of a person's corrections, or of an earlier run.
        vectors: A text encoder that finds synonyms; None for none.
    """
    spelt, meaning = folder / "spelt.parquet", folder / "meaning.parquet"
    query = f"""
        SELECT spelling, min(name) AS name, min(value) AS value, count(DISTINCT item_id) AS items FROM kept
        WHERE {ABOUT_ITEM} GROUP BY spelling ORDER BY spelling
    """
    write_rows(spelt, _SPELT, (_with_keys(batch) for batch in database.stream(query, 4096)))
    database.view("spelt", spelt)
    database.execute("""
        CREATE TABLE nodes AS
        SELECT node, name, key, sum(items) AS items, max({'items': items, 'spelling': spelling}).spelling AS spelling
        FROM spelt GROUP BY node, name, key
    """)
    joined = _across_attributes(database)
    joined |= _near_phrases(database, folder, joined.keys(), vectors)
    rows = database.stream("SELECT node, spelling FROM spelt ORDER BY node, items DESC, spelling", 4096)
    groups = _grouped(rows, joined)
    write_rows(meaning, _MEANING, _concepts_of(groups, known))
    database.view("meaning", meaning)
    database.execute("""
        CREATE VIEW meant AS
        SELECT kept.*, coalesce(concept_id, spelling) AS concept_id FROM kept LEFT JOIN meaning USING (spelling)
    """)


def _with_keys(batch: pa.RecordBatch) -> pa.RecordBatch:
    rows = batch.to_pylist()
    for row in rows:
        row["name"], row["key"] = phrase(row["name"]), key_of(phrase(row["name"]), row.pop("value"))
        row["node"] = f"{row['name']}={row['key']}"
    return pa.RecordBatch.from_pylist(rows, _SPELT)


def _across_attributes(database: Database) -> dict[str, str]:
    """Node → the node of another attribute that it means the same as: half of the items with the one have the other."""
    database.execute("""
        CREATE TABLE holds AS
        SELECT DISTINCT item_id, node, key FROM kept JOIN spelt USING (spelling)
        WHERE key IN (SELECT key FROM nodes GROUP BY key HAVING count(*) > 1)
    """)
    together = """
        WITH sizes AS (SELECT node, count(*) AS n FROM holds GROUP BY node),
            pairs AS (
                SELECT a.node AS one, b.node AS other, count(*) AS n
                FROM holds a JOIN holds b ON a.item_id = b.item_id AND a.key = b.key AND a.node < b.node GROUP BY ALL
            )
        SELECT one, other FROM pairs JOIN sizes a ON a.node = one JOIN sizes b ON b.node = other
        WHERE pairs.n * 2 >= least(a.n, b.n) ORDER BY one, other
    """
    roots = _Roots()
    for one, other in _rows(database, together):
        roots.join(one, other)
    shared = "SELECT key, name, node FROM nodes WHERE node IN (SELECT node FROM holds) ORDER BY key, items DESC, node"
    for _, same in groupby(_rows(database, shared), key=itemgetter(0)):
        nodes = [(name in FORMS, node) for _, name, node in same]
        attributes = {roots.of(node): node for is_said, node in nodes if not is_said}
        said = [node for is_said, node in nodes if is_said]
        if len(attributes) <= 1:  # a phrase that is the value of one attribute only
            for node in said:
                roots.join(next(iter(attributes.values()), said[0]), node)
    return {node: roots.of(node) for node in roots.above}


class _Roots:
    """Sets that grow together (union-find); the root is the node that a set was begun with."""

    def __init__(self) -> None:
        self.above: dict[str, str] = {}

    def of(self, node: str) -> str:
        """The root of a node's set."""
        while self.above.get(node, node) != node:
            node = self.above[node] = self.above.get(self.above[node], self.above[node])
        return node

    def join(self, one: str, other: str) -> None:
        """Make one set of two."""
        for node in (one, other):
            self.above.setdefault(node, node)
        self.above[self.of(other)] = self.of(one)


def _near_phrases(
    database: Database, folder: Path, joined: Collection[str], vectors: Vectors | None
) -> dict[str, str]:
    """Node of a phrase → the commonest node that is written nearly alike, or else says the same in other words."""
    query = f"""
        SELECT node, key, spelling FROM nodes WHERE name IN {FORMS} ORDER BY items DESC, node LIMIT {COMPARED}
    """
    found = [row for row in _rows(database, query) if row[0] not in joined]
    if len(found) < 2:
        return {}
    near = list(_written_alike([key for _, key, _ in found]))
    if vectors is not None:
        near += _synonyms(database, folder, found, vectors)
    hubs: dict[str, str] = {}
    for here, there in sorted(near, key=itemgetter(0)):  # of one phrase in the order that they were found
        node, other = found[here][0], found[there][0]
        if node not in hubs and other not in hubs:
            hubs[node] = other
    return hubs


def _written_alike(keys: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Places of keys that differ in how their words are formed; the second is the commoner one's."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(keys)
    for here, there in near_places(grams, NEAR):
        if _are_one(keys[here], keys[there]):
            yield here, there


def _synonyms(
    database: Database, folder: Path, found: Sequence[tuple[str, ...]], vectors: Vectors
) -> list[tuple[int, int]]:
    """Places of phrases that say the same in other words, and that no item shows both."""
    phrases = [(key, spelling.partition("=")[2]) for _, key, spelling in found]
    pairs = list(
        synonymous(phrases, vectors, _words_of_values(database, {w for k, _ in phrases for w in k.split()}))
    )
    rows = [{"here": found[here][0], "there": found[there][0]} for here, there in pairs]
    write_rows(folder / "pairs.parquet", _PAIR, [pa.RecordBatch.from_pylist(rows, _PAIR)])
    database.view("pairs", folder / "pairs.parquet")
    both = """
        WITH shown AS (
            SELECT DISTINCT item_id, node FROM kept JOIN spelt USING (spelling)
            WHERE node IN (SELECT here FROM pairs UNION SELECT there FROM pairs)
        )
        SELECT DISTINCT here, there FROM pairs
        JOIN shown a ON a.node = here JOIN shown b ON b.node = there AND b.item_id = a.item_id
    """
    apart = set(_rows(database, both))
    return [(here, there) for here, there in pairs if (found[here][0], found[there][0]) not in apart]


def _words_of_values(database: Database, words: Collection[str]) -> set[str]:
    """Those of some words that the values of attributes hold."""
    query = f"SELECT DISTINCT unnest(string_split(key, ' ')) AS word FROM nodes WHERE name NOT IN {FORMS}"
    return {word for (word,) in _rows(database, query) if word in words}


def _are_one(one: str, other: str) -> bool:
    """Whether keys that are written nearly alike differ in how their words are formed, and not in what is said.

    Example:
        >>> _are_one("contrast topstitch", "contrast topstitching"), _are_one("black hood", "red hood")
        (True, False)
    """
    if not same_numbers(one, other):
        return False
    if UNSPACED.search(one) or one.replace(" ", "") == other.replace(" ", ""):
        return True
    if AND in one or AND in other:
        parts = zip(one.split(AND), other.split(AND), strict=False)
        return one.count(AND) == other.count(AND) and all(
            each == as_well or _are_one(each, as_well) for each, as_well in parts
        )
    here, there = set(one.split()), set(other.split())
    pairs = zip(sorted(here - there), sorted(there - here), strict=False)
    return len(here) == len(there) and all(are_forms(*pair) for pair in pairs)


def _grouped(batches: Iterator[pa.RecordBatch], joined: Mapping[str, str]) -> Iterator[list[tuple[str, str]]]:
    """(node, spelling) of a concept together: those of nodes that joined at the end, the others as they come."""
    together: dict[str, list[tuple[str, str]]] = {}
    hubs = {*joined.values()}
    pairs = ((row["node"], row["spelling"]) for batch in batches for row in batch.to_pylist())
    for node, same in groupby(pairs, key=itemgetter(0)):
        if node in joined or node in hubs:
            together.setdefault(joined.get(node, node), []).extend(same)
        else:
            yield list(same)
    yield from together.values()


def _concepts_of(
    groups: Iterable[list[tuple[str, str]]], known: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """Each spelling with its concept: the known one of its own, else that of its group, else its group's first."""
    for some in batches(groups, 2048):
        rows = []
        for group in some:
            before = next((known[spelling] for _, spelling in group if spelling in known), group[0][1])
            rows += [{"spelling": s, "concept_id": known.get(s, before)} for _, s in group]
        yield pa.RecordBatch.from_pylist(rows, _MEANING)


def _rows(database: Database, query: str) -> Iterator[tuple[str, ...]]:
    for batch in database.stream(query, 4096):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
