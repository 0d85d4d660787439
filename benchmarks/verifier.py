"""Does the verifier pass what is true and stop what is not?

    python benchmarks/verifier.py --data ../shared/data
    python benchmarks/verifier.py --data ../shared/data --reasons 40        # a quick look

Three questions:

- `showable/quickstart.jsonl`: reasons that a trained writer wrote, judged by people (`SHOWABLE.md`). The verifier is
  to pass those that may be shown and stop the others. It has learnt the wording of the shapes that the writer was
  trained on (of simulated shoppers of the quickstart's catalogue), and no judged reason.
- True reasons of four catalogues, written from evidence, beside corruptions of each: another item's fact, another
  user's taste, a stronger quantity, two facts of which no item of the history has both, another event, inverted
  polarity, an added clause, a doubled clause, a broken link. It is to stop the corruptions and let the true ones
  through.

- Paraphrases (`labels/paraphrases.yaml`): true reasons as a fluent writer words them, English and Chinese, and their
  false twins, over cases of their own. Half of the cases were used to mend the verifier, the other half only to count.

Last, how many short reasons a second it checks on one core, with items and users that it has met.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from bars import Bars
from corruptions import CORRUPTIONS, Rng, Shop, True_
from jsonargparse import auto_cli

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.concepts.stage import find_evidence
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.evidence.facts import facts_of, language_of
from mmreason.evidence.plan import plans
from mmreason.evidence.schema import Candidate, Case, Fact, Plan
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.verify import Verifier
from mmreason.schema import Interaction, Item, Reason, User
from mmreason.targets.simulate import simulate
from mmreason.wording import extract, template

PARAPHRASES = Path(__file__).parent / "labels" / "paraphrases.yaml"


def main(
    data: str = "../shared/data",
    reasons: int = 150,
    seed: int = 0,
    show: int = 0,
    passed: float = 0.9,
    stopped: float = 0.95,
    caught: float = 0.97,
    false: float = 0.03,
    free: float = 0.15,
    twins: float = 0.97,
    speed: float = 2000,
) -> None:
    """Run and check.

    Args:
        data: Folder of the shared data.
        reasons: True reasons of each catalogue.
        seed: Of every random choice.
        show: How many mistakes of each kind to print.
        passed: Bar for the share of the showable reasons that pass.
        stopped: Bar for the share of the others that are stopped.
        caught: Bar for the share of the corruptions that are stopped.
        false: Bar for the share of the true reasons that are stopped.
        free: Bar for the share of the paraphrases kept for testing that pass.
        twins: Bar for the share of all their false twins that are stopped.
        speed: Bar for reasons a second on one core.
    """
    bars = Bars("verifier")
    with tempfile.TemporaryDirectory() as folder:
        shops = [
            open_shop(name, Path(folder) / name, config, seed)
            for name, config in catalogues(Path(data)).items()
        ]
        rng = np.random.default_rng(seed)
        verifier = Verifier()
        references = referenced(shops[0])
        for text, case, values in references:
            verifier.learn(text, case, values)
        good, bad = showable(Path(data) / "showable/quickstart.jsonl", verifier, show)
        bars.check("showable reasons passed", good, passed)
        bars.check("others stopped", bad, stopped)
        free_passed, twins_stopped = paraphrased(PARAPHRASES, show)
        bars.check("true paraphrases passed", free_passed, free)
        bars.check("their false twins stopped", twins_stopped, twins)
        true = {shop.name: list(true_reasons(shop, reasons, rng)) for shop in shops}
        wrongly = stopped_of(true, verifier, show)
        right = caught_of({shop.name: shop for shop in shops}, true, verifier, rng, show)
        bars.check("corruptions caught", right, caught)
        bars.check("true reasons stopped", wrongly, false, at_most=True)
        every = [each for of_shop in true.values() for each in of_shop]
        bars.check("short reasons a second on one core", pace(every, verifier), speed, form=",.0f")
    bars.finish()


def catalogues(data: Path) -> dict[str, Config]:
    """The four, as their users would bring them in."""
    return {
        "quickstart": Config(catalogue=CatalogueConfig(source="demo", options={"items_per_domain": 120})),
        "magento": Config(catalogue=CatalogueConfig(source="magento", root=str(data / "magento"))),
        "shop": Config(catalogue=CatalogueConfig(source="tables", root=str(data / "shop"))),
        "movielens": Config(
            catalogue=CatalogueConfig(source="movielens", root=str(data / "movielens_small/ml-latest-small"))
        ),
    }


def open_shop(name: str, folder: Path, config: Config, seed: int) -> Shop:
    """Ingest a catalogue and find its evidence; where it has no users, shoppers are simulated."""
    config = replace(config, run_dir=str(folder))
    print(f"{name}: {ingest(config)}")
    print(f"  {find_evidence(config)}")
    catalogue = read_catalogue(config.path("catalogue"))
    steps = list(catalogue.interactions)
    references: list[Reason] = []
    if name in ("quickstart", "magento"):
        steps, references = simulate(catalogue.items, SimulateConfig(users=300, favour=["color"]), seed)
    histories: dict[str, list[Interaction]] = defaultdict(list)
    for step in sorted(steps, key=lambda step: step.timestamp):
        histories[step.user_id].append(step)
    users = [User(user, history[-60:]) for user, history in histories.items() if len(history) > 1]
    values: dict[str, set[str]] = defaultdict(set)
    for item in catalogue.items.values():
        for attribute, those in item.attributes.items():
            values[attribute].update(those)
    store = EvidenceStore.open(config.path("evidence"))
    return Shop(name, catalogue.items, users, store, references, {a: sorted(v) for a, v in values.items()})


def referenced(shop: Shop) -> list[tuple[str, Case, list[str]]]:
    """The catalogue's reference reasons with their cases, and the values that each names."""
    users = {user.id: user for user in shop.users}
    return [
        (
            r.text,
            shop.store.case(users[r.user_id], shop.items[r.item_id], shop.items),
            [each.value for each in r.evidence],
        )
        for r in shop.references
        if r.user_id in users
    ]


def showable(path: Path, verifier: Verifier, show: int) -> tuple[float, float]:
    """(share of the showable that passed, share of the others that were stopped)."""
    told: dict[bool, list[bool]] = {True: [], False: []}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        verdict = verifier.check(row["text"], judged_case(row, len(told[True]) + len(told[False])))
        personal = verdict.passed and verdict.level == "personal"
        told[row["showable"]].append(personal)
        if personal != row["showable"] and show:
            print(
                f"  {'stopped' if row['showable'] else 'passed'}: {row['text']} ({verdict.kind}: {verdict.why})"
            )
    good, bad = sum(told[True]), len(told[False]) - sum(told[False])
    print(f"showable: {good} of {len(told[True])} passed, {bad} of {len(told[False])} others stopped")
    return good / len(told[True]), bad / len(told[False])


def paraphrased(path: Path, show: int) -> tuple[float, float]:
    """(share of the true paraphrases of the half ``test`` that passed, share of all false twins that were stopped).

    Single sentences are shown of the half ``develop`` only.
    """
    verifier, told = Verifier(), Counter[tuple[str, str, bool]]()
    for number, row in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))):
        case = judged_case(row, number)
        for pair in row["reasons"]:
            for side, text in pair.items():
                verdict = verifier.check(text, case)
                told[row["half"], side, verdict.passed] += 1
                if verdict.passed != (side == "holds") and show and row["half"] == "develop":
                    print(f"  {side}: {text} ({verdict.kind}: {verdict.why})")
    for half in ("develop", "test"):
        passed, of = told[half, "holds", True], told[half, "holds", True] + told[half, "holds", False]
        print(
            f"paraphrases, {half}: {passed} of {of} true ones passed, {told[half, 'fails', False]} twins stopped"
        )
    stopped = told["develop", "fails", False] + told["test", "fails", False]
    every = stopped + told["develop", "fails", True] + told["test", "fails", True]
    return told["test", "holds", True] / (
        told["test", "holds", True] + told["test", "holds", False]
    ), stopped / every


def judged_case(row: Mapping[str, Any], number: int) -> Case:
    """The case of a judged reason; its hidden attributes are what the pictures show."""
    item, facts = judged_item(row["item"], f"item-{number}")
    history = [judged_item(step, f"item-{number}-{place}") for place, step in enumerate(row["history"])]
    steps = [
        Interaction(
            item_id=of.id,
            event=step["event"],
            count=step.get("count", 1),
            seconds=step.get("seconds"),
            rating=step.get("rating"),
        )
        for (of, _), step in zip(history, row["history"], strict=True)
    ]
    return Case(
        User(f"user-{number}", steps),
        item,
        facts,
        history_items={of.id: of for of, _ in history},
        history_facts={of.id: told for of, told in history},
        language=language_of(item),
    )


def judged_item(row: Mapping[str, Any], item_id: str) -> tuple[Item, list[Fact]]:
    """An item of a judged reason, with its facts."""
    item = Item(
        item_id, row["title"], row.get("text", ""), attributes=row["attributes"], domain=row.get("domain", "")
    )
    seen = [Fact(item_id, name, v, "picture") for name, vs in row.get("hidden", {}).items() for v in vs]
    return item, [*facts_of(item), *seen]


def true_reasons(shop: Shop, number: int, rng: Rng) -> Iterator[True_]:
    """Reasons that the writers make of evidence, of random users and items: the best plans of both levels."""
    found = 0
    ids = sorted(shop.items)
    for turn in range(20 * number):
        if found >= number:
            return
        user = shop.users[int(rng.integers(len(shop.users)))]
        item = shop.items[ids[int(rng.integers(len(ids)))]]
        if any(step.item_id == item.id for step in user.history):
            continue
        case = shop.store.case(user, item, shop.items)
        ranked = plans(case, template.tells)
        personal = [plan for plan in ranked if plan.level == "personal"][:2]
        points = [plan for plan in ranked if plan.level != "personal"][: 1 if turn % 3 == 0 else 0]
        for plan in [*personal, *points]:
            for candidate in written(plan, case, turn):
                yield True_(candidate.text, case, candidate.plan)
                found += 1


def written(plan: Plan, case: Case, seed: int) -> list[Candidate]:
    """One text of each writer."""
    return [*template.write(plan, case, seed)[:1], *extract.write(plan, case, seed)[:1]]


def stopped_of(true: Mapping[str, Sequence[True_]], verifier: Verifier, show: int) -> float:
    """Share of the true reasons that are stopped."""
    wrong = 0
    for name, reasons in true.items():
        verdicts = [(each, verifier.check(each.text, each.case)) for each in reasons]
        faults = [(each, verdict) for each, verdict in verdicts if not verdict.passed]
        wrong += len(faults)
        print(f"{name}: {len(faults)} of {len(reasons)} true reasons stopped")
        for each, verdict in faults[:show]:
            print(f"  {each.text} ({verdict.kind}: {verdict.why})")
    return wrong / sum(map(len, true.values()))


def caught_of(
    shops: Mapping[str, Shop],
    true: Mapping[str, Sequence[True_]],
    verifier: Verifier,
    rng: Rng,
    show: int,
) -> float:
    """Share of the corruptions that are stopped; those of reasons that are stopped themselves do not count."""
    made: Counter[str] = Counter()
    missed: dict[str, list[str]] = defaultdict(list)
    for name, reasons in true.items():
        for each in reasons:
            if not verifier.check(each.text, each.case).passed:
                continue
            for kind, corrupt in CORRUPTIONS.items():
                for text, case in corrupt(rng, each, shops[name]):
                    made[kind] += 1
                    if verifier.check(text, case).passed:
                        missed[kind].append(text)
    for kind, number in made.items():
        print(f"{kind}: {number - len(missed[kind])} of {number} caught")
        for text in missed[kind][:show]:
            print(f"  {text}")
    return 1 - sum(map(len, missed.values())) / made.total()


def pace(reasons: Sequence[True_], verifier: Verifier) -> float:
    """Reasons a second of processor time, of items and users that are known."""
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        for each in reasons:
            verifier.check(each.text, each.case)
        best = max(best, len(reasons) / (time.process_time() - start))
    return best


if __name__ == "__main__":
    auto_cli(main)
