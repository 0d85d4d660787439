"""Are the facts true and worth saying, and is a colour that no text tells read right off the picture?

    python benchmarks/facts.py --data ../shared/data
    python benchmarks/facts.py --data ../shared/data --show true       # the facts that still need a label
    python benchmarks/facts.py --data ../shared/data --keep runs       # keeps the runs, and uses them the next time

Facts: of three catalogues (the Magento sample shop; MovieLens films with descriptions; Chinese restaurant reviews, of
which every ten stand for a restaurant) facts are drawn by the hash of what they say, so that a fact stays drawn
when others come and go. `labels/facts.tsv` holds the hash of each fact that was judged, never its words, with the
judge's rule. What is drawn and not judged is counted.

Colours: the quickstart and the sample shop hide the colour from every text. Each picture is read by a probe that has
not learned from its product; the threshold is the probe's own.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
from bars import Bars
from jsonargparse import auto_cli

from mmreason.catalogue.ingest import ingest
from mmreason.concepts.stage import find_evidence
from mmreason.config import AlignConfig, CatalogueConfig, Config
from mmreason.evidence.seen import seen_facts
from mmreason.language import phrase
from mmreason.schema import Item
from mmreason.store.items import ItemLookup

HERE = Path(__file__).parent
LABELS = HERE / "labels" / "facts.tsv"
DRAWN = {"magento": 131, "movies": 131, "restaurants": 60}
REVIEWS_A_PLACE = 10
DESCRIBED_UNTIL = 2000  # a later film of a title is another one
_YEAR = re.compile(r"\s*\((\d{4})\)$")
_ARTICLE = re.compile(r"^(.*), (The|A|An)$")


@dataclass(frozen=True)
class Drawn:
    """A fact to be judged, with its item."""

    catalogue: str
    key: str
    item: Item
    name: str
    value: str
    source: str
    counts: str


def main(data: str = "../shared/data", show: bool = False, keep: str = "", only: str = "") -> None:
    """Run and check.

    Args:
        data: Folder of the real data.
        show: Print what is drawn and not judged, instead of measuring.
        keep: Folder for the runs; what is there is used.
        only: ``facts`` or ``colors``; empty for both.
    """
    bars = Bars("facts")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(keep or temporary).absolute()
        if only != "colors":
            judge(draw(Path(data).absolute(), folder), bars, show)
        if only != "facts" and not show:
            for name in ("sample_shop", "quickstart"):
                read_colors(name, Path(data).absolute(), folder, bars)
    bars.finish()


def draw(data: Path, folder: Path) -> list[Drawn]:
    """The facts with the smallest hashes of each catalogue."""
    drawn: list[Drawn] = []
    for name, count in DRAWN.items():
        config = _catalogue(name, data, folder)
        print(f"{name}: {ingest(config)}\n{name}: {find_evidence(config)}")
        items = ItemLookup(config.path("catalogue"))
        found: dict[str, Drawn] = {}
        for row in pq.read_table(config.path("evidence", "facts.parquet")).to_pylist():
            if row["source"] == "relation":
                continue  # as the source has it, or counted: nothing to judge
            item = items[row["item_id"]]
            said = "\x1f".join((name, item.group, row["name"], phrase(row["value"]), row["source"]))
            key = sha256(said.encode()).hexdigest()[:16]
            counts = f"{row['supporters']} of {row['asked']}" if row["asked"] else ""
            found[key] = Drawn(name, key, item, row["name"], row["value"], row["source"], counts)
        drawn += [found[key] for key in sorted(found)[:count]]
    return drawn


def judge(drawn: list[Drawn], bars: Bars, show: bool) -> None:
    """Hold the drawn facts against their labels."""
    with LABELS.open(encoding="utf-8", newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        labels = {row["fact"]: row for row in csv.DictReader(lines, delimiter="\t")}
    missing = [fact for fact in drawn if fact.key not in labels]
    for fact in missing if show else ():
        print(
            "\t".join(
                (
                    fact.key,
                    fact.item.id,
                    f"{fact.name}={fact.value}",
                    fact.counts,
                    fact.source,
                    _context(fact),
                )
            )
        )
    kinds = Counter(f"{fact.source} {fact.name}" for fact in missing)
    print(f"{len(drawn)} facts drawn, {len(missing)} without a label", dict(kinds.most_common()))
    judged = [(fact, labels[fact.key]) for fact in drawn if fact.key in labels]
    for column, name, bar in (("true", "true", 0.97), ("worth", "worth saying", 0.85)):
        wrong = Counter(f"{fact.source} {fact.name}" for fact, row in judged if row[column] != "1")
        print(f"not {name}: {dict(wrong.most_common())}")
        bars.check(f"of {len(judged)} facts, {name}", 1 - wrong.total() / max(len(judged), 1), bar)
    bars.check("facts drawn that were judged", len(judged) / len(drawn), 0.9)


def _context(fact: Drawn) -> str:
    """The item's title, and the text around the words."""
    place = max(fact.item.text.find(fact.value), 0)
    around = fact.item.text[max(place - 80, 0) : place + len(fact.value) + 60].replace("\n", " / ")
    return f"{fact.item.title} | {around if fact.source == 'text' else fact.item.text[:80]}".replace(
        "\n", " / "
    )


def read_colors(name: str, data: Path, folder: Path, bars: Bars) -> None:
    """Precision and coverage of the hidden colour."""
    config = _pictured(name, data, folder)
    found = {fact.item_id: fact.value for fact in seen_facts(config) if fact.name == "color"}
    items = {
        item.id: item for item in ItemLookup(config.path("catalogue")).values() if item.hidden.get("color")
    }
    right = {
        id
        for id, value in found.items()
        if id in items and phrase(value) == phrase(items[id].hidden["color"][0])
    }
    read = found.keys() & items.keys()
    unseen = {id for id in items if items[id].split == "test"}
    print(
        f"{name}: {len(read)} of {len(items)} hidden colours read, {len(right)} right; of products kept for testing "
        f"{len(read & unseen)} of {len(unseen)} read, {len(right & unseen)} right"
    )
    bars.check(f"{name}, hidden colours read, precision", len(right) / max(len(read), 1), 0.95)
    bars.check(f"{name}, hidden colours read, coverage", len(read) / len(items), 0.7)


def _pictured(name: str, data: Path, folder: Path) -> Config:
    """A run up to its embedding store; the space itself is not used, so it is hardly trained."""
    from mmreason.align.train import align
    from mmreason.embed.job import embed
    from mmreason.shards.pack import pack

    demo = name == "quickstart"
    catalogue = CatalogueConfig("demo", options={"items_per_domain": 120}, hidden=["color", "pattern"])
    if not demo:
        catalogue = CatalogueConfig("magento", str(data / "magento"), hidden=["color"])
    config = Config(run_dir=str(folder / name), catalogue=catalogue, align=AlignConfig(steps=1))
    if not config.path("embed", "index.json").exists():
        for stage in (ingest, pack, align, embed):
            print(f"{name}: {stage(config)}")
    config.path("evidence").mkdir(exist_ok=True)
    return config


def _catalogue(name: str, data: Path, folder: Path) -> Config:
    """A run's configuration, with its source in place."""
    config = Config(run_dir=str(folder / f"facts-{name}"))
    if name == "magento":
        return replace(config, catalogue=CatalogueConfig("magento", str(data / "magento")))
    source = folder / f"source-{name}"
    source.mkdir(parents=True, exist_ok=True)
    tables = _movies(data) if name == "movies" else _restaurants(data)
    for table in ("items.csv", "interactions.csv"):
        with (source / table).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(next(tables))
    return replace(config, catalogue=CatalogueConfig("tables", str(source)))


def _movies(data: Path) -> Iterator[list[list[str]]]:
    """Films of MovieLens that have a description, and their ratings."""
    described = {_plain_title(row["title"]): row for row in _rows(data / "movie_text_yulan/data/item.csv")}
    folder = next(data.glob("movielens_small/**/movies.csv")).parent
    films, known = [["id", "title", "genre", "year", "description"]], set()
    for row in _rows(folder / "movies.csv"):
        found = described.get(_plain_title(row["title"]))
        if found:
            known.add(row["movieId"])
            year = row["title"].rstrip()[-5:-1]
            films.append(
                [
                    row["movieId"],
                    found["title"],
                    row["genres"],
                    year if year.isdigit() else "",
                    found["description"],
                ]
            )
    yield films
    ratings = [row for row in _rows(folder / "ratings.csv") if row["movieId"] in known]
    columns = ("userId", "movieId", "rating", "timestamp")
    yield [
        ["user_id", "item_id", "rating", "timestamp"],
        *([row[name] for name in columns] for row in ratings),
    ]


def _plain_title(title: str) -> str:
    """A film's title in lower case without its year, its article in front."""
    plain = _YEAR.sub("", title.strip())
    return _ARTICLE.sub(r"\2 \1", plain).casefold()


def _restaurants(data: Path) -> Iterator[list[list[str]]]:
    """Reviews of ASAP, as many a place as make praise possible."""
    reviews = [row for path in sorted((data / "zh_asap/data").glob("*.csv")) for row in _rows(path)]
    places = len(reviews) // REVIEWS_A_PLACE
    yield [["id", "title"], *([str(n), f"餐厅{n}"] for n in range(places))]
    yield [
        ["user_id", "item_id", "event", "rating", "text"],
        *(
            [row["index"], str(number % places), "review", row["star"], row["reviewbody"]]
            for number, row in enumerate(reviews)
        ),
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    auto_cli(main)
