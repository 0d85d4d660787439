"""What goes together: products that several people bought both of, more often than chance would have it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from mmreason.catalogue.index import read_index
from mmreason.config import Config
from mmreason.database import Database
from mmreason.evidence.schema import Fact
from mmreason.files import TEMPORARY

MIN_PEOPLE = 3
"""Who bought both, at least."""

MIN_LIFT = 2.0
"""How much likelier who bought the one bought the other, than anybody did."""

_MOST_BOUGHT = 100  # products of a person, the latest; who bought more, buys for others
_MOST_TOLD = 10  # relations of an item, the best supported

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


def bought_together(config: Config) -> Iterator[Fact]:
    """``bought with`` of items, whose value is the other item's id; nothing where nobody bought anything.

    A product's relation holds for each of its variants, with each variant of the other that somebody bought.
    ``supporters`` are the people who bought both products, ``asked`` those who bought one of the two.
    """
    folder = config.path("catalogue")
    index = read_index(folder)
    with (
        TemporaryDirectory(prefix=f"{TEMPORARY}{os.getpid()}-", dir=config.path("evidence")) as scratch,
        Database(folder, Path(scratch, "sorting")) as database,
    ):
        for name in ("items", "interactions"):
            database.view(name, index.paths[name])
        for batch in database.stream(_PAIRS, 2048):
            for row in batch.to_pylist():
                yield Fact(
                    row["item_id"],
                    "bought with",
                    row["other_id"],
                    "relation",
                    supporters=row["people"],
                    asked=row["either"],
                )
