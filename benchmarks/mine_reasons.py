"""How well `mine-reasons` finds the sentences that say why, and whether it reads their aspects right.

    python benchmarks/mine_reasons.py --data ../shared/data

English: the reviews of the Magento sample shop. One engineer read 320 of their 1,326 sentences, drawn with
fixed seeds, and labelled each by hand before the miner saw it (`labels/sample_shop_reasons.tsv`: does it say
why one would want the item, which aspects does it judge, for or against). From the 348 reviews that join an
item: a first sample of 140, labelled before the miner was written, by the hand that then wrote its lexicon; a
second of 90, labelled when the miner was done and measured before it was mended once more (on sentences outside
the samples). From the 152 reviews whose item is missing, and which nobody had looked at: a third of 90,
labelled after that and measured once. The second and third are the figures that count.

Chinese: the test sample of ASAP (restaurant reviews; NAACL 2021), whose 18 aspect labels by its annotators are the
truth for a whole review. `lexicons/restaurants_zh.yaml` is an aspect lexicon as a user would edit it, with the 18
aspects as its names, so a word found is mapped to the aspects it is listed under; it was written looking at the train
and dev samples. An aspect is positive if more of the review's opinions of it are for than against.

The baseline takes every sentence of a review with four stars or more; for ASAP it has the same lexicon, and calls every
aspect that such a review names positive.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bars import Bars
from jsonargparse import auto_cli

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.readers import read_source
from mmreason.reviews.aspects import Lexicon
from mmreason.reviews.learn import learn_lexicon
from mmreason.reviews.miner import Miner
from mmreason.reviews.sentences import sentence_hash, sentences
from mmreason.schema import DataError, Item

HERE = Path(__file__).parent
MIN_RATING = 3.0  # the default of mine-reasons
BASELINE_RATING = 4.0
Found = set[tuple[int, str]]


def main(data: str = "../shared/data", part: str = "test", limit: int = 0) -> None:
    """Measure both and hold them against the baseline.

    Args:
        data: Folder of the real data.
        part: Sample of ASAP: ``test``, or ``train`` or ``dev`` while the lexicon is being edited.
        limit: Reviews of ASAP; 0 for all.
    """
    bars = Bars("mine-reasons against every positive-star sentence")
    for sample in ("first", "second", "third"):
        _shop(bars, Path(data, "magento"), sample)
    _asap(bars, Path(data, "zh_asap", "data", f"{part}_sample.csv"), limit)
    bars.finish()


def _shop(bars: Bars, root: Path, sample: str) -> None:
    """Sentences that say why, and the aspects of all labelled sentences."""
    source = Config(catalogue=CatalogueConfig("magento", str(root)), simulate=SimulateConfig(users=0))
    frames = read_source(source).interactions
    reviews = {row["row"]: row for frame in frames for row in frame.iter_rows(named=True)}
    items = _items(source)
    joined = {item.id for item in items}
    miner = Miner(learn_lexicon(items, [r["text"] for r in reviews.values() if r["item_id"] in joined]))
    truth, mined, rated, baseline = set[int](), set[int](), set[int](), set[int]()
    aspects: Found = set()
    judged: Found = set()
    for number, row in enumerate(_labels(sample)):
        record = reviews[int(row["review"])]
        sentence = sentences(record["text"])[int(row["sentence"])]
        if sentence_hash(sentence) != row["sentence_hash"]:
            raise DataError(
                f"review {row['review']}, sentence {row['sentence']} is not the labelled one; relabel it"
            )
        verdict = miner.judge(sentence)
        _add(truth, number, row["why"] == "1")
        _add(mined, number, not verdict.cause)
        _add(rated, number, not verdict.cause and float(record["rating"]) >= MIN_RATING)
        _add(baseline, number, float(record["rating"]) >= BASELINE_RATING)
        if number in truth & mined:
            aspects |= {(number, aspect) for aspect in row["aspects"].split()}
            judged |= {(number, o.aspect + ("+" if o.polarity > 0 else "-")) for o in verdict.opinions}
    print(f"sample shop, {sample} sample: {len(truth)} of {len(_labels(sample))} sentences say why")
    floor = _print("  baseline, every sentence of 4 stars or more", baseline, truth)
    _print(f"  mined from reviews of {MIN_RATING:g} stars or more", rated, truth)
    score = _print("  mined from all reviews", mined, truth)
    _print("  aspect and polarity of the sentences rightly mined", judged, aspects)
    bars.check(f"sample shop, {sample} sample, F1 (the bar is the baseline's)", score, floor, form=".2f")


def _items(source: Config) -> list[Item]:
    with tempfile.TemporaryDirectory() as folder:
        config = replace(source, run_dir=folder)
        ingest(config)
        return list(read_catalogue(config.path("catalogue")).items.values())


def _labels(sample: str) -> list[dict[str, str]]:
    with (HERE / "labels" / "sample_shop_reasons.tsv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["sample"] == sample]


def _add(numbers: set[int], number: int, yes: bool) -> None:
    if yes:
        numbers.add(number)


def _asap(bars: Bars, path: Path, limit: int) -> None:
    """Aspects that a review names, and those it praises, against the annotators'."""
    miner = Miner(Lexicon.read(HERE / "lexicons" / "restaurants_zh.yaml"))
    named, praised, mentions, praise, kept, baseline = (set[tuple[int, str]]() for _ in range(6))
    count = 0
    for number, row in enumerate(_rows(path, limit)):
        count += 1
        labels = {aspect: int(row[aspect]) for aspect in miner.lexicon.aspects}
        named |= {(number, aspect) for aspect, label in labels.items() if label != -2}
        praised |= {(number, aspect) for aspect, label in labels.items() if label == 1}
        parts = sentences(row["reviewbody"])
        here = {(number, aspect) for part in parts for aspect in miner.chinese.mentions(part)}
        mentions |= here
        if float(row["star"]) >= BASELINE_RATING:
            baseline |= here
        if float(row["star"]) >= MIN_RATING:
            praise |= {(number, aspect) for aspect in _praise(miner, parts)}
            verdicts = [verdict for verdict in map(miner.judge, parts) if not verdict.cause]
            kept |= {(number, o.aspect) for v in verdicts for o in v.opinions if o.polarity > 0}
    print(f"ASAP, {path.stem}: {count} reviews, {len(named)} aspects named, {len(praised)} of them positive")
    _print("  aspects named", mentions, named)
    floor = _print("  baseline, aspects named in reviews of 4 stars or more, as positive", baseline, praised)
    _print("  positive aspects in the evidence of mined sentences", kept, praised)
    score = _print("  positive aspects by opinions", praise, praised)
    bars.check("ASAP, positive aspects, F1 (the bar is the baseline's)", score, floor, form=".2f")


def _praise(miner: Miner, parts: list[str]) -> Iterator[str]:
    balance: dict[str, int] = {}
    for part in parts:
        for o in miner.chinese.find(part):
            balance[o.aspect] = balance.get(o.aspect, 0) + o.polarity
    return (aspect for aspect, sum_ in balance.items() if aspect and sum_ > 0)


def _rows(path: Path, limit: int) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows[: limit or None]


def _print(name: str, found: set, truth: set) -> float:
    """Print precision, recall and F1; returns F1."""
    right = len(found & truth)
    precision, recall = right / max(len(found), 1), right / max(len(truth), 1)
    f1 = 2 * right / max(len(found) + len(truth), 1)
    print(f"{name}: precision {precision:.2f} recall {recall:.2f} F1 {f1:.2f} ({right} of {len(found)})")
    return f1


if __name__ == "__main__":
    auto_cli(main)
