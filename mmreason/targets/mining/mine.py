"""``mmreason mine-reasons``: the sentences of reviews that say why, as reasons to learn from.

A review's sentence is taken, word for word, if what it says in the end speaks for an aspect of the item; delivery,
service and price are no aspects of it (``why: false`` in the lexicon). Every sentence that is not taken is counted
under its cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from mmreason.catalogue.catalogue import Catalogue, read_catalogue, write_catalogue
from mmreason.catalogue.split import read_split_rule, split_reasons
from mmreason.schema import DataError, Evidence, Interaction, Item, Reason
from mmreason.targets.aspects import Lexicon
from mmreason.targets.mining.opinions import GENERAL, Opinion, OpinionFinder
from mmreason.targets.mining.sentences import is_chinese, sentence_hash, sentences

SOURCE = "review"
LONGEST = 400
"""A sentence of more characters is a text without full stops, and no reason to show."""

MIN_LEARN = 3
"""A noun is learned as an aspect if at least this many reviews judge it, and one in 200 of them."""

JUDGED_SHARE = 0.3
"""… and if this share of the reviews that name it does."""

ITEM_SHARE = 0.25
"""A noun is a word for the item if this share of the reviews that name it says "this …"."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sentence says why; if not, the cause it is counted under.

    Attributes:
        cause: Empty if it says why.
        opinions: All that the sentence says of the item's aspects.
    """

    cause: str
    opinions: list[Opinion]


@dataclass
class Miner:
    """Judges sentences of either language with one lexicon.

    Example:
        >>> miner = Miner(Lexicon.seed())
        >>> miner.judge("The straps are comfy.").cause, miner.judge("Came a week late!").cause
        ('', 'names no opinion of an aspect')
    """

    lexicon: Lexicon

    @cached_property
    def english(self) -> OpinionFinder:
        """Opinions in English."""
        from mmreason.targets.mining.english import English

        return OpinionFinder(self.lexicon, English())

    @cached_property
    def chinese(self) -> OpinionFinder:
        """Opinions in Chinese."""
        from mmreason.targets.mining.chinese import Chinese

        return OpinionFinder(self.lexicon, Chinese(self.lexicon))

    def finder(self, text: str) -> OpinionFinder:
        """The finder for a text's language."""
        return self.chinese if is_chinese(text) else self.english

    def judge(self, sentence: str) -> Verdict:
        """Whether one sentence says why somebody would want the item."""
        finder = self.finder(sentence)
        said = finder.find(sentence)
        opinions = [o for o in said if o.aspect != GENERAL and self.lexicon.aspects[o.aspect].why]
        off_topic = {a for a in finder.mentions(sentence) if not self.lexicon.aspects[a].why}
        return Verdict(self._cause(sentence, said, opinions, off_topic), opinions)

    def _cause(self, sentence: str, said: list[Opinion], opinions: list[Opinion], off_topic: set[str]) -> str:
        if len(sentence) > LONGEST:
            return "too long"
        if sentence.rstrip("”’\"') ").endswith(("?", "？")):
            return "a question"
        praised = {o.aspect for o in opinions if o.polarity > 0}
        if off_topic and len(off_topic) >= len(praised):
            return f"about {min(off_topic)}"
        decisive = [o for o in said if not o.conceded]
        if any(o.polarity < 0 for o in decisive):
            return "against the item"
        if praised and not any(o.polarity > 0 for o in decisive):
            return "praise that a contrast takes back"
        if praised:
            return ""
        if any(o.polarity > 0 for o in said):
            return "praise of no aspect"
        return "names no opinion of an aspect"


def learn_lexicon(items: Iterable[Item], texts: Iterable[str]) -> Lexicon:
    """The seed, the catalogue's attribute values, and the nouns that its reviews judge.

    Args:
        items: For their attributes, and the words that name an item.
        texts: Whole reviews.
    """
    lexicon = Lexicon.seed()
    lexicon.add_attributes(items)
    texts = list(texts)
    miner = Miner(lexicon)
    judged, pointed, named = Counter[str](), Counter[str](), Counter[str]()
    for text in tqdm(texts, desc="learn aspects", unit="review", disable=None):
        found = [noun for sentence in sentences(text) for noun in miner.finder(sentence).nouns(sentence)]
        named.update({noun for noun, _, _ in found})
        judged.update({noun for noun, near, _ in found if near})
        pointed.update({noun for noun, _, this in found if this})
    for noun, count in pointed.most_common():
        if count >= MIN_LEARN and count >= ITEM_SHARE * named[noun]:
            lexicon.item_words.append(noun)
    often = {noun: count for noun, count in judged.items() if count >= JUDGED_SHARE * named[noun]}
    lexicon.add_nouns(often, max(MIN_LEARN, len(texts) // 200))
    seen: Counter[str] = Counter()
    learned = Miner(lexicon)
    for text in texts:
        seen.update({aspect for s in sentences(text) for aspect in learned.finder(s).mentions(s)})
    for name, aspect in lexicon.aspects.items():
        aspect.seen = seen[name]
    return lexicon


@dataclass
class Mined:
    """Reasons from reviews, and where every review and sentence went."""

    reasons: list[Reason] = field(default_factory=list)
    reviews: Counter[str] = field(default_factory=Counter)
    sentences: Counter[str] = field(default_factory=Counter)


def mine(
    reviews: Iterable[Interaction], miner: Miner, taken: set[tuple[str, str]], min_rating: float, most: int
) -> Mined:
    """One reason a review that says why.

    Args:
        reviews: Interactions with a text.
        miner: Judges the sentences.
        taken: (user, item) pairs that have a reason already.
        min_rating: A review with a lower rating is passed over; one without a rating is not.
        most: Sentences a reason, those that praise most aspects first.
    """
    mined, taken = Mined(), set(taken)
    for review in tqdm(reviews, desc="mine reasons", unit="review", disable=None):
        pair = (review.user_id, review.item_id)
        if pair in taken:
            mined.reviews["pair has a reason already"] += 1
        elif review.rating is not None and review.rating < min_rating:
            mined.reviews[f"rated below {min_rating:g}"] += 1
        else:
            reason = _reason(review, miner, most, mined.sentences)
            mined.reviews["kept" if reason else "no sentence says why"] += 1
            if reason:
                taken.add(pair)
                mined.reasons.append(reason)
    return mined


def _reason(review: Interaction, miner: Miner, most: int, counts: Counter[str]) -> Reason | None:
    found: list[tuple[str, list[Opinion]]] = []
    seen: set[str] = set()
    for sentence in sentences(review.text):
        verdict = miner.judge(sentence)
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


def mine_reasons(run_dir: str, min_rating: float = 3, most_sentences: int = 2, relearn: bool = False) -> str:
    """Mine reasons from the reviews of a run's catalogue into its reasons table.

    Reads ``<run_dir>/catalogue`` and writes ``reasons.parquet`` there; the aspect lexicon is ``aspects.yaml``
    beside it, learned if it is not there. Reasons mined before are replaced, all others stay.

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
    folder = Path(run_dir, "catalogue")
    catalogue = read_catalogue(folder)
    reviews = [i for i in catalogue.interactions if i.text.strip()]
    if not reviews:
        raise DataError(
            f"{folder}: no interaction has a text; give the reviews a `text` column and ingest again"
        )
    path = folder / "aspects.yaml"
    if relearn or not path.exists():
        learn_lexicon(catalogue.items.values(), (review.text for review in reviews)).write(path)
        origin = "learned"
    else:
        origin = "read"
    lexicon = Lexicon.read(path)
    own = [reason for reason in catalogue.reasons if not is_mined(reason)]
    taken = {(reason.user_id, reason.item_id) for reason in own}
    mined = mine(reviews, Miner(lexicon), taken, min_rating, most_sentences)
    reasons, dropped = split_reasons(
        catalogue.items, catalogue.interactions, mined.reasons, read_split_rule(folder)
    )
    mined.reviews["pair on two sides of the split"] += dropped
    mined.reviews["kept"] -= dropped
    write_catalogue(
        Catalogue(catalogue.items, catalogue.interactions, own + reasons, catalogue.media_root), folder
    )
    return _summary(mined, own, reasons, f"{len(lexicon.aspects)} aspects {origin}: {path}")


def is_mined(reason: Reason) -> bool:
    """Whether a reason comes from a review by :func:`mine`."""
    return any(claim.source == SOURCE for claim in reason.evidence)


def _summary(mined: Mined, own: list[Reason], reasons: list[Reason], aspects: str) -> str:
    splits = Counter(reason.split for reason in reasons)
    praised: Counter[str] = Counter(c.attribute for r in reasons for c in r.evidence if (c.polarity or 0) > 0)
    common = ", ".join(f"{name} {count}" for name, count in praised.most_common(8))
    shares = ", ".join(f"{count} {split}" for split, count in sorted(splits.items()))
    lines = [
        f"mine-reasons: {_balance('reviews', mined.reviews)}",
        _balance("sentences of the reviews judged", mined.sentences),
        f"{len(reasons):,} reasons mined ({shares}), {len(own):,} others kept; praised: {common}",
        f"{aspects}; run `mmreason pack` next",
    ]
    return "\n".join(lines)


def _balance(kind: str, counts: Counter[str]) -> str:
    """``5 reviews read = 3 kept + 2 skipped (2 no sentence says why)``."""
    causes = {cause: count for cause, count in counts.most_common() if cause != "kept" and count}
    skipped = sum(causes.values())
    named = f" ({', '.join(f'{count:,} {cause}' for cause, count in causes.items())})" if causes else ""
    return f"{skipped + counts['kept']:,} {kind} read = {counts['kept']:,} kept + {skipped:,} skipped{named}"
