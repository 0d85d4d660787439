"""``mmreason mine-reasons``: the sentences of reviews that say why, as reasons to learn from.

A review's sentence is taken, word for word, if what it says in the end speaks for an aspect of the item; delivery,
service and price are no aspects of it (``why: false`` in the lexicon). Every sentence that is not taken is counted
under its cause.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pyarrow as pa

from mmreason.catalogue.index import read_index, use_tables
from mmreason.catalogue.resplit import Sides
from mmreason.catalogue.split import read_split_rule
from mmreason.catalogue.tables import ROW_GROUPS, write_batches, write_table
from mmreason.database import Database
from mmreason.files import TEMPORARY, remove
from mmreason.language import is_chinese
from mmreason.progress import track
from mmreason.reviews.languages import not_mined, unmined_language
from mmreason.reviews.learn import ReviewTexts, read_or_learn
from mmreason.reviews.miner import Miner
from mmreason.reviews.opinions import Opinion
from mmreason.reviews.sentences import sentence_hash, sentences
from mmreason.schema import DataError, Evidence, Interaction, Reason, from_record

SOURCE = "review"


@dataclass
class Counts:
    """Where everything went.

    Attributes:
        reviews: How many were ``kept``, or not for which cause.
        sentences: Likewise.
        splits: Mined reasons on each side of the split.
        praised: Mined reasons' praise of each aspect.
    """

    reviews: Counter[str] = field(default_factory=Counter)
    sentences: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    praised: Counter[str] = field(default_factory=Counter)


def mine(
    reviews: Iterable[tuple[Interaction, bool]], miner: Miner, min_rating: float, most: int, counts: Counts
) -> Iterator[Reason]:
    """One reason a review that says why.

    Args:
        reviews: Interactions with a text, a user's together, each with whether its pair has a reason already.
        miner: Judges the sentences.
        min_rating: A review with a lower rating is passed over; one without a rating is not.
        most: Sentences a reason, those that praise most aspects first.
        counts: Counts what becomes of each review and sentence.
    """
    user, taken = "", set[str]()
    for review, has_reason in reviews:
        if review.user_id != user:
            user, taken = review.user_id, set()
        if has_reason or review.item_id in taken:
            counts.reviews["pair has a reason already"] += 1
        elif review.rating is not None and review.rating < min_rating:
            counts.reviews[f"rated below {min_rating:g}"] += 1
        else:
            language = unmined_language(review.text)
            reason = _reason(review, miner, most, counts.sentences, language)
            why_not = not_mined(language) if language else "no sentence says why"
            counts.reviews["kept" if reason else why_not] += 1
            if reason:
                taken.add(review.item_id)
                yield reason


def _reason(
    review: Interaction, miner: Miner, most: int, counts: Counter[str], language: str
) -> Reason | None:
    found: list[tuple[str, list[Opinion]]] = []
    seen: set[str] = set()
    for sentence in sentences(review.text):
        verdict = miner.judge(sentence, language)
        cause = verdict.cause or ("said twice" if sentence_hash(sentence) in seen else "")
        seen.add(sentence_hash(sentence))
        counts[cause or "kept"] += 1
        if not cause:
            found.append((sentence, verdict.opinions))
    if not found:
        return None
    order = sorted(range(len(found)), key=lambda i: (-_praised(found[i][1]), i))
    counts["beyond a review's best"] += len(found) - len(order[:most])
    counts["kept"] -= len(found) - len(order[:most])
    return _join(review, [found[i] for i in sorted(order[:most])])


def _praised(opinions: list[Opinion]) -> int:
    return len({o.aspect for o in opinions if o.polarity > 0})


def _join(review: Interaction, picked: list[tuple[str, list[Opinion]]]) -> Reason:
    """The picked sentences, verbatim, with evidence whose spans are those in the joined text."""
    text, evidence = "", []
    for sentence, opinions in picked:
        text += " " if text and not is_chinese(sentence) else ""
        for o in opinions:
            span = (o.span[0] + len(text), o.span[1] + len(text))
            claim = Evidence(o.aspect, o.term, SOURCE, span=span, opinion=o.opinion, polarity=o.polarity)
            evidence.append(claim)
        text += sentence
    return Reason(review.user_id, review.item_id, text, evidence)


def _by_user(database: Database) -> Iterator[tuple[Interaction, bool]]:
    """The reviews user by user, each with whether its pair has a reason of the source's own."""
    query = """
        SELECT i.*, own.user_id IS NOT NULL AS has_reason FROM interactions i
        LEFT JOIN (SELECT DISTINCT user_id, item_id FROM reasons) own USING (user_id, item_id)
        WHERE trim(i.text) <> '' ORDER BY i.user_id, i.file_row_number
    """
    for batch in database.stream(query, 8192):
        for row in batch.to_pylist():
            yield from_record(Interaction, row), row["has_reason"]


def mine_reasons(run_dir: str, min_rating: float = 3, most_sentences: int = 2, relearn: bool = False) -> str:
    """Mine reasons from the reviews of a run's catalogue.

    Writes ``<run_dir>/mined/reasons.parquet``, the source's own reasons and the mined ones, and points
    ``catalogue.json`` to it; the source's own table stays as it is. The aspect lexicon is ``aspects.yaml`` beside
    it, learned if it is not there. The next ``ingest`` reads the source's own reasons again until this verb is run.

    Args:
        run_dir: Folder of the run.
        min_rating: Pass over reviews with a lower rating; reviews without one are read.
        most_sentences: Sentences a reason, those that praise most aspects first.
        relearn: Learn ``aspects.yaml`` anew even if it is there (your edits are lost).

    Returns:
        What was read, kept and skipped by cause.

    Raises:
        DataError: If there is no catalogue, it holds no review texts, or ``aspects.yaml`` is damaged.
    """
    folder, mined = Path(run_dir, "catalogue"), Path(run_dir, "mined")
    index = read_index(folder)
    tables = dict(index.paths) | {"reasons": folder / "reasons.parquet"}  # the source's own
    mined.mkdir(exist_ok=True)
    with Database(folder, mined / (TEMPORARY + "sorting")) as database:
        sides = Sides(database, tables, read_split_rule(folder))
        reviews = ReviewTexts(database)
        if not len(reviews):
            raise DataError(
                f"{folder}: no interaction has a text; give the reviews a `text` column and ingest again"
            )
        lexicon, origin = read_or_learn(mined / "aspects.yaml", tables["items"], reviews, relearn)
        counts, found = Counts(), mined / (TEMPORARY + "found.parquet")
        read = track(_by_user(database), "mine reasons", "review", len(reviews))
        write_table(found, Reason, mine(read, Miner(lexicon), min_rating, most_sentences, counts))
        database.view("found", found, numbered=True)
        own = database.stream("SELECT * EXCLUDE file_row_number FROM reasons", ROW_GROUPS[Reason])
        merged = chain(map(_table, own), _counted(sides.reasons("found"), counts))
        written = write_batches(mined / "reasons.parquet", Reason, merged)
        remove(found)
    use_tables(folder, dict(index.paths) | {"reasons": mined / "reasons.parquet"})
    return _summary(counts, written, origin)


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _counted(tables: Iterable[pa.Table], counts: Counts) -> Iterator[pa.Table]:
    """The tables of mined reasons, counted by side of the split and by what they praise."""
    for table in tables:
        counts.splits.update(table["split"].to_pylist())
        for evidence in table["evidence"].to_pylist():
            counts.praised.update(c["attribute"] for c in json.loads(evidence) if (c["polarity"] or 0) > 0)
        yield table
    lost = counts.reviews["kept"] - counts.splits.total()
    counts.reviews["pair on two sides of the split"] += lost
    counts.reviews["kept"] -= lost


def _summary(counts: Counts, written: int, aspects: str) -> str:
    mined = counts.splits.total()
    common = ", ".join(f"{name} {count}" for name, count in counts.praised.most_common(8))
    sides = ", ".join(f"{count} {split}" for split, count in sorted(counts.splits.items()))
    lines = [
        f"mine-reasons: {_balance('reviews', counts.reviews)}",
        _balance("sentences of the reviews judged", counts.sentences),
        f"{mined:,} reasons mined ({sides}), {written - mined:,} of the source's own; praised: {common}",
        f"{aspects}; run `mmreason pack` next, and this again after the next ingest, which forgets what was mined",
    ]
    return "\n".join(lines)


def _balance(kind: str, counts: Counter[str]) -> str:
    """``5 reviews read = 3 kept + 2 skipped (2 no sentence says why)``."""
    causes = {cause: count for cause, count in counts.most_common() if cause != "kept" and count}
    skipped = sum(causes.values())
    named = f" ({', '.join(f'{count:,} {cause}' for cause, count in causes.items())})" if causes else ""
    return f"{skipped + counts['kept']:,} {kind} read = {counts['kept']:,} kept + {skipped:,} skipped{named}"
