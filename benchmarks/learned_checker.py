"""Would a checker that is trained on corrupted true reasons catch what the verifier's rules miss?

    python benchmarks/learned_checker.py --data ../shared/data

A logistic regression reads how a text and its evidence differ: which words it uses that neither the item nor the
history has, how many it shares with each, its words of quantity and polarity, its length, and hashed word pairs. It
learns from true reasons and their corruptions (`benchmarks/corruptions.py`) of two catalogues, without two kinds of
corruption, and is tried on the whole of a third. Its threshold stops 3 % of the true reasons that it is tried on.

Three figures: what it catches of all corruptions, of those of kinds that it never saw, and of those that the rules
miss. It would be worth building if it caught half of the last; the bar only holds what was decided by.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from bars import Bars
from corruptions import CORRUPTIONS, Shop, True_
from jsonargparse import auto_cli
from scipy.optimize import minimize
from verifier import catalogues, open_shop, true_reasons

from mmreason.evidence.schema import Case
from mmreason.generate.verify import Verifier

_PAIRS = 2048  # buckets of hashed word pairs
_WORD = re.compile(r"[a-z']+")
_UNSEEN = ("added clause", "another event")


def main(data: str = "../shared/data", reasons: int = 150, seed: int = 0, rules: float = 0.97) -> None:
    """Train, try and print.

    Args:
        data: Folder of the shared data.
        reasons: True reasons of each catalogue.
        seed: Of every random choice.
        rules: Bar for the share of the corruptions that the rules alone catch.
    """
    bars, rng, verifier = Bars("learned_checker"), np.random.default_rng(seed), Verifier()
    with tempfile.TemporaryDirectory() as folder:
        shops = {
            name: open_shop(name, Path(folder) / name, config, seed)
            for name, config in catalogues(Path(data)).items()
            if name != "magento"
        }
        rows = {name: list(labelled(shop, reasons, rng)) for name, shop in shops.items()}
    learnt_from = [row for name in ("quickstart", "shop") for row in rows[name] if row[2] not in _UNSEEN]
    weights = fitted(
        np.stack([features(text, case) for text, case, _ in learnt_from]),
        np.array([kind != "" for _, _, kind in learnt_from], float),
    )
    tried = rows["movielens"]
    scores = np.array([features(text, case) @ weights for text, case, _ in tried])
    kinds = np.array([kind for _, _, kind in tried])
    stops = scores > np.quantile(scores[kinds == ""], 0.97)
    passed = np.array([verifier.check(text, case).passed for text, case, _ in tried])
    false, missed = kinds != "", (kinds != "") & passed
    for kind in CORRUPTIONS:
        of = kinds == kind
        if of.any():
            print(f"{kind}: rules {np.mean(~passed[of]):.1%}, learned {np.mean(stops[of]):.1%} of {of.sum()}")
    unseen = np.isin(kinds, _UNSEEN)
    print(
        f"learned: {stops[false].mean():.1%} of all corruptions, {stops[unseen].mean():.1%} of kinds that it never saw"
    )
    print(f"learned: {stops[missed].sum()} of the {missed.sum()} that the rules miss")
    bars.check("corruptions that the rules catch", float(np.mean(~passed[false])), rules)
    bars.finish()


def labelled(shop: Shop, number: int, rng: np.random.Generator) -> Iterator[tuple[str, Case, str]]:
    """(text, case, kind of corruption), the kind empty of a true reason."""
    for each in true_reasons(shop, number, rng):
        yield each.text, each.case, ""
        yield from ((text, case, kind) for kind, text, case in corrupted(rng, each, shop))


def corrupted(rng: np.random.Generator, each: True_, shop: Shop) -> Iterator[tuple[str, str, Case]]:
    """Every corruption of a reason."""
    for kind, corrupt in CORRUPTIONS.items():
        yield from ((kind, text, case) for text, case in corrupt(rng, each, shop))


def features(text: str, case: Case) -> np.ndarray:
    """(6 + pairs,) float: of text and evidence together, then hashed pairs of words."""
    words = _WORD.findall(text.lower())
    told = [case.item.title, case.item.text, *(fact.value for fact in case.facts)]
    held = [fact.value for facts in case.history_facts.values() for fact in facts]
    item, history = (set(_WORD.findall(" ".join(those).lower())) for those in (told, held))
    known = [(word in item, word in history) for word in words]
    n = max(len(words), 1)
    found = np.zeros(7 + _PAIRS)
    found[:7] = [
        1.0,
        n / 20,
        sum(a for a, _ in known) / n,
        sum(b for _, b in known) / n,
        sum(a and b for a, b in known) / n,
        sum(not (a or b) for a, b in known) / n,
        1 - len(set(words)) / n,
    ]
    for pair in pairwise(words):
        found[7 + zlib.crc32(" ".join(pair).encode()) % _PAIRS] = 1.0
    return found


def fitted(rows: np.ndarray, labels: np.ndarray, penalty: float = 1.0) -> np.ndarray:
    """Weights (F,) of a logistic regression with a ridge, by L-BFGS."""
    signs = 2 * labels - 1

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (rows @ weights)
        slopes = -signs / (1 + np.exp(margins))
        value = np.logaddexp(0, -margins).sum() + penalty / 2 * weights @ weights
        return float(value), rows.T @ slopes + penalty * weights

    found: Sequence[float] = minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x
    return np.asarray(found)


if __name__ == "__main__":
    auto_cli(main)
