"""What goes together: what several people bought both of, more often than by chance, and what the source links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmreason.catalogue.index import read_index
from mmreason.config import Config
from mmreason.database import Database
from mmreason.evidence.schema import Fact
from mmreason.files import own_prefix

MIN_PEOPLE = 3
"""Who bought both, at least."""

MIN_LIFT = 2.0
"""How much likelier who bought the one bought the other, than anybody did."""

_MOST_BOUGHT = 100  # products of a person, the latest; who bought more, buys for others
_MOST_TOLD = 10  # relations of an item, the best supported
_MOST_LINKED = 50  # of a kind, of an item: a gift box is shown beside everything

# Products are groups of variants: a person buys one mug of a colour, and it goes with the teapot in any.
_PAIRS = f"""
    WITH bought AS (
        SELECT user_id, "group" AS product
        FROM interactions JOIN items ON item_id = id WHERE event = 'purchase'
        GROUP BY user_id, "group"
        QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY max(timestamp) DESC, "group") <= {_MOST_BOUGHT}
    ), sizes AS (SELECT product, count(*) AS n FROM bought GROUP BY product HAVING n >= {MIN_PEOPLE}),
    pairs AS (
        SELECT a.product AS one, b.product AS other, count(*) AS people
        FROM bought a JOIN bought b ON a.user_id = b.user_id AND a.product <> b.product
        WHERE a.product IN (SELECT product FROM sizes) AND b.product IN (SELECT product FROM sizes)
        GROUP BY ALL HAVING people >= {MIN_PEOPLE}
    ), told AS (
        SELECT one, other, people, a.n + b.n - people AS either,
            a.n::DOUBLE * b.n / (SELECT count(DISTINCT user_id) FROM bought) AS expected
        FROM pairs JOIN sizes a ON a.product = one JOIN sizes b ON b.product = other
        WHERE people >= {MIN_LIFT} * expected AND people >= expected + 2 * sqrt(expected)
        QUALIFY row_number() OVER (PARTITION BY one ORDER BY people DESC, expected, other) <= {_MOST_TOLD}
    )
    SELECT id AS item_id, item_id AS other_id, people, either
    FROM told JOIN items ON "group" = one
        JOIN (SELECT DISTINCT item_id, "group" AS product FROM interactions JOIN items ON item_id = id
              WHERE event = 'purchase') taken ON taken.product = other
    ORDER BY id, people DESC, other_id
"""

# What a product is shown beside, by the products that most people took: of each its first variant, and what they took.
_LINKED = f"""
    WITH taken AS (SELECT item_id, count(*) AS steps FROM interactions WHERE event <> 'impression' GROUP BY item_id),
    variants AS (
        SELECT id, "group" AS product, coalesce(steps, 0) AS steps,
            row_number() OVER (PARTITION BY "group" ORDER BY id) = 1 AS first
        FROM items LEFT JOIN taken ON item_id = id
    ), links AS (
        SELECT "group" AS product, kind, unnest(from_json(ids, '["VARCHAR"]')) AS target
        FROM (SELECT "group", each.key AS kind, each.value AS ids FROM items, json_each(links) AS each)
    ), pairs AS (
        SELECT DISTINCT links.product AS one, kind, target.product AS other
        FROM links JOIN variants AS target ON target.id = links.target WHERE one <> other
    ), told AS (
        SELECT * FROM pairs JOIN (SELECT product, sum(steps) AS steps FROM variants GROUP BY product) ON product = one
        QUALIFY row_number() OVER (PARTITION BY other, kind ORDER BY steps DESC, one) <= {_MOST_LINKED}
    )
    SELECT shown.id AS item_id, kind, beside.id AS other_id
    FROM told JOIN variants AS shown ON shown.product = other
        JOIN variants AS beside ON beside.product = one AND (beside.first OR beside.steps > 0)
    ORDER BY item_id, kind, told.steps DESC, other_id
"""


def bought_together(config: Config) -> Iterator[Fact]:
    """``bought with`` of items, whose value is the other item's id; nothing where nobody bought anything.

    A product's relation holds for each of its variants, with each variant of the other that somebody bought.
    ``supporters`` are the people who bought both products, ``asked`` those who bought one of the two.
    """
    for row in _rows(config, _PAIRS):
        supporters, asked = row["people"], row["either"]
        yield Fact(
            row["item_id"], "bought with", row["other_id"], "relation", supporters=supporters, asked=asked
        )


def linked(config: Config) -> Iterator[Fact]:
    """The source's own links: of an item what it is shown beside; the kind is the name, the other item's id the value.

    Who took the other item is told that this one goes with it: the direction is the source's.
    """
    for row in _rows(config, _LINKED):
        yield Fact(row["item_id"], row["kind"], row["other_id"], "relation")


def _rows(config: Config, query: str) -> Iterator[dict[str, Any]]:
    folder = config.path("catalogue")
    index = read_index(folder)
    with (
        TemporaryDirectory(prefix=own_prefix(), dir=config.path("evidence")) as scratch,
        Database(folder, Path(scratch, "sorting")) as database,
    ):
        for name in ("items", "interactions"):
            database.view(name, index.paths[name])
        for batch in database.stream(query, 2048):
            yield from batch.to_pylist()
