"""What reviewers praise: facts of source ``review``, each said by several people and taken back by few.

No reviewer is quoted. A person counts once for an aspect, however often they name it, for or against by the balance of
what they say; the same text under several names counts once. Reviews of all variants speak of the product.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from mmreason.catalogue.index import read_index
from mmreason.config import Config
from mmreason.database import Database
from mmreason.evidence.schema import Fact
from mmreason.files import TEMPORARY
from mmreason.language import is_chinese, stem_of_plural
from mmreason.reviews.aspects import Lexicon
from mmreason.reviews.languages import unmined_language
from mmreason.reviews.learn import ReviewTexts, read_or_learn
from mmreason.reviews.miner import Miner
from mmreason.reviews.opinions import GENERAL, Opinion
from mmreason.reviews.sentences import sentences
from mmreason.safety.untrusted import refusal
from mmreason.schema import DataError

LEAST = 3
"""People who must praise an aspect."""

MAJORITY = 0.75
"""Share of those who judge an aspect that must praise it."""

MOST_REVIEWS = 300
"""Reviews of a product that are read, the latest first."""

LEARNED_FROM = 20_000
"""Reviews that the aspects are learned from."""

MOST_PRAISE = 5
"""Aspects of a product, those that most people praise."""

_QUERY = f"""
    WITH said AS (
        SELECT "group" AS product, user_id, interactions.text, row_number() OVER (
            PARTITION BY "group" ORDER BY timestamp DESC, user_id, item_id, interactions.text
        ) AS place
        FROM interactions JOIN items ON item_id = items.id WHERE trim(interactions.text) <> ''
    ),
    products AS (SELECT "group" AS product, list(id ORDER BY id) AS ids FROM items GROUP BY "group"),
    often AS (SELECT product FROM said GROUP BY product HAVING count(DISTINCT user_id) >= {LEAST})
    SELECT product, ids, user_id, text FROM said JOIN often USING (product) JOIN products USING (product)
    WHERE place <= {MOST_REVIEWS} ORDER BY product, place
"""


def praise_facts(config: Config) -> Iterator[Fact]:
    """What at least three people praise of each item, most supporters first; nothing without reviews.

    The aspects are those of ``mined/aspects.yaml`` if ``mine-reasons`` has learned them, else of
    ``evidence/aspects.yaml``, which a person may edit.

    Raises:
        DataError: If a file cannot be read.
    """
    paths = read_index(config.path("catalogue")).paths
    scratch = config.path("evidence", TEMPORARY + "reviews")
    with Database(config.path("catalogue"), scratch) as database:
        for name in ("items", "interactions"):
            database.view(name, paths[name])
        rows = _rows(database)
        first = next(rows, None)
        if first is None:
            return
        try:
            miner = Miner(_lexicon(config, paths["items"], ReviewTexts(database, LEARNED_FROM)))
            miner.finder(first["text"])
        except DataError as error:  # the libraries that read opinions are an extra
            print(f"reviews are not read for praise: {error}", file=sys.stderr)
            return
        for _, product in groupby(_rows(database), key=lambda row: row["product"]):
            reviews = list(product)
            for praise in praised(((row["user_id"], row["text"]) for row in reviews), miner):
                for item_id in reviews[0]["ids"]:
                    yield Fact(
                        item_id,
                        "praise",
                        praise.value,
                        "review",
                        supporters=praise.supporters,
                        asked=praise.asked,
                    )


def _rows(database: Database) -> Iterator[dict[str, Any]]:
    for batch in database.stream(_QUERY, 2048):
        yield from batch.to_pylist()


def _lexicon(config: Config, items: Path, texts: ReviewTexts) -> Lexicon:
    mined = config.path("mined", "aspects.yaml")
    return read_or_learn(mined if mined.is_file() else config.path("evidence", "aspects.yaml"), items, texts)[
        0
    ]


@dataclass(frozen=True, slots=True)
class Praise:
    """What several people praise.

    Attributes:
        value: What it is called: ``fit``, ``straps``.
        supporters: People who praise it.
        asked: People who praise or blame it.
    """

    value: str
    supporters: int
    asked: int


def praised(reviews: Iterable[tuple[str, str]], miner: Miner) -> list[Praise]:
    """What the reviewers of one product agree on.

    Args:
        reviews: (user id, text).
        miner: Finds opinions.

    Example:
        >>> reviews = [("ann", "Comfy!"), ("bob", "So comfortable."), ("cat", "Very soft."), ("dan", "Too tight.")]
        >>> praised(reviews, Miner(Lexicon.seed()))
        [Praise(value='comfort', supporters=3, asked=3)]
    """
    balance: defaultdict[str, Counter[str]] = defaultdict(
        Counter
    )  # what is judged → person → for less against
    spelt: defaultdict[str, Counter[str]] = defaultdict(Counter)
    texts: set[str] = set()
    for user, text in reviews:
        plain = " ".join(text.casefold().split())
        if plain in texts or refusal(text) or unmined_language(text):
            continue
        texts.add(plain)
        for sentence in sentences(text):
            for opinion in miner.judge(sentence).opinions:
                if name := called(opinion, miner.lexicon, is_chinese(text)):
                    key = stem_of_plural(name.casefold())
                    balance[key][user] += opinion.polarity
                    spelt[key][name] += 1
    found = []
    for key, people in balance.items():
        supporters = sum(sum_ > 0 for sum_ in people.values())
        asked = supporters + sum(sum_ < 0 for sum_ in people.values())
        if supporters >= LEAST and supporters >= MAJORITY * asked:
            found.append(Praise(spelt[key].most_common(1)[0][0], supporters, asked))
    return sorted(found, key=lambda praise: (-praise.supporters, praise.asked, praise.value))[:MOST_PRAISE]


def called(opinion: Opinion, lexicon: Lexicon, chinese: bool) -> str:
    """What is praised or blamed, as a noun of the review's language; empty if there is no word for it.

    Example:
        >>> called(Opinion("warmth", "toasty", "toasty", 1, (0, 6)), Lexicon.seed(), chinese=False)
        'warmth'
    """
    if opinion.aspect == GENERAL:
        return ""
    said = lexicon.aspects[opinion.aspect].said
    if said is not None:
        return next((word for word in said if is_chinese(word) == chinese), "")
    return opinion.term.lower() if opinion.term != opinion.opinion else ""
