"""Splits are exact, by group, and independent of order."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.catalogue.ingest import STAGED
from mmreason.catalogue.quarantine import Quarantine
from mmreason.catalogue.resplit import Sides, resplit
from mmreason.catalogue.split import (
    SplitRule,
    assign_splits,
    read_split_rule,
    split_rule,
    write_split_rule,
)
from mmreason.catalogue.staging import Staging
from mmreason.catalogue.tables import columns, read_table, write_table
from mmreason.config import Config, SimulateConfig, SplitConfig
from mmreason.database import Database
from mmreason.schema import DataError, Interaction, Item, Reason, from_record

groups = st.lists(st.text(max_size=4), max_size=60)


@given(groups, st.floats(0, 0.5), st.floats(0, 0.49), st.integers(0, 9), st.randoms())
def test_exact_and_independent_of_order(
    names: list[str], test: float, valid: float, seed: int, random
) -> None:
    splits = assign_splits(names, test, valid, seed)
    counts = Counter(splits.values())
    assert set(splits) == set(names)
    assert abs(counts["test"] - test * len(splits)) <= 0.5
    assert abs(counts["valid"] - valid * len(splits)) <= 0.5 or counts["train"] == 0
    random.shuffle(names)
    assert assign_splits(names, test, valid, seed) == splits


def test_another_seed_gives_another_cut() -> None:
    names = [str(n) for n in range(50)]
    assert assign_splits(names, 0.2, 0.1, 0) != assign_splits(names, 0.2, 0.1, 1)


@pytest.mark.parametrize(("test", "valid"), [(-0.1, 0.1), (0.6, 0.4)])
def test_shares_that_leave_nothing(test: float, valid: float) -> None:
    with pytest.raises(DataError, match="less than 1"):
        assign_splits(["a"], test, valid, 0)


def split_on_disk(items: list[Item], test: float, valid: float, seed: int, folder: Path) -> None:
    """Set ``item.split`` as the ingest does."""
    with Staging(folder, STAGED) as staging, Quarantine(folder / "quarantine.jsonl") as quarantine:
        staged = {"file": ["x"] * len(items), "row": list(range(len(items))), "media": [0] * len(items)}
        staging.add("items", columns(Item, [replace(item, split="") for item in items]) | staged)
        staging.seal(test, valid, seed)
        written = [row for table in staging.items(quarantine) for row in table.to_pylist()]
    assert [row["id"] for row in written] == [item.id for item in items]
    for item, row in zip(items, written, strict=True):
        item.split = row["split"]


def test_groups_stay_together_and_domains_share_alike(tmp_path: Path) -> None:
    items = [Item(f"{d}{n}", domain=d, group=f"{d}{n // 2}") for d in ("shop", "news") for n in range(40)]
    split_on_disk(items, 0.2, 0.1, 3, tmp_path)
    by_group = {item.group: {i.split for i in items if i.group == item.group} for item in items}
    assert all(len(splits) == 1 for splits in by_group.values())
    for domain in ("shop", "news"):
        counts = Counter(item.split for item in items if item.domain == domain)
        assert counts == {"train": 28, "valid": 4, "test": 8}


def _world(times: bool = True) -> tuple[dict[str, Item], list[Interaction], list[Reason]]:
    items = {f"i{n}": Item(f"i{n}", group=f"g{n // 2}") for n in range(20)}
    pairs = [(f"u{n % 10}", f"i{(n * 7) % 20}") for n in range(60)]
    pairs = list(dict.fromkeys(pairs))
    interactions = [
        Interaction(u, i, timestamp=float(n + 1) if times else 0.0) for n, (u, i) in enumerate(pairs)
    ]
    return items, interactions, [Reason(u, i, "") for u, i in pairs]


def _split(
    by: str, tmp_path: Path, times: bool = True
) -> tuple[dict[str, Item], list[Interaction], list[Reason], int]:
    items, interactions, reasons = _world(times)
    config = Config(split=SplitConfig(by), simulate=SimulateConfig(users=0))
    rule = split_rule(config)
    split, dropped = _resplit(items, interactions, reasons, rule, tmp_path)
    assert len(split.reasons) + dropped == len(reasons) and split.reasons
    return split.items, interactions, split.reasons, dropped


def _resplit(
    items: dict[str, Item],
    interactions: list[Interaction],
    reasons: list[Reason],
    rule: SplitRule,
    folder: Path,
) -> tuple[Catalogue, int]:
    """What ingest does: items are split by item, then all by the rule."""
    split_on_disk(list(items.values()), *rule.items, rule.seed, folder / "staged")
    write_catalogue(Catalogue(items, interactions, reasons, folder), folder)
    write_split_rule(rule, folder)
    dropped = resplit(folder, rule)
    return _read(folder), dropped


def _read(folder: Path) -> Catalogue:
    items = {item.id: item for item in read_table(folder / "items.parquet", Item)}
    interactions = read_table(folder / "interactions.parquet", Interaction)
    return Catalogue(items, interactions, read_table(folder / "reasons.parquet", Reason), folder)


def _sides_of_added(folder: Path, reasons: list[Reason]) -> list[Reason]:
    """Reasons that come later, split by the catalogue's rule."""
    write_table(folder / "added.parquet", Reason, [replace(reason, split="train") for reason in reasons])
    tables = {name: folder / f"{name}.parquet" for name in ("items", "interactions", "reasons")}
    with Database(folder, folder / "scratch") as database:
        database.view("added", folder / "added.parquet", numbered=True)
        sides = Sides(database, tables, read_split_rule(folder))
        rows = [row for table in sides.reasons("added") for row in table.to_pylist()]
    return [from_record(Reason, row) for row in rows]


@pytest.mark.parametrize("by", ["item", "user", "time", "item+user", "time+item", "none"])
def test_sides_share_nothing_of_what_is_split(by: str, tmp_path: Path) -> None:
    items, interactions, reasons, dropped = _split(by, tmp_path)
    sides = {reason.split for reason in reasons}
    assert sides == ({"train"} if by == "none" else {"train", "valid", "test"}) or "+" in by
    assert (dropped > 0) == ("+" in by)
    if "item" in by:
        groups = {(items[r.item_id].group, r.split) for r in reasons}
        assert len(groups) == len({group for group, _ in groups})
    if "user" in by:
        assert len({(r.user_id, r.split) for r in reasons}) == len({r.user_id for r in reasons})
    if "time" in by:
        time = {(i.user_id, i.item_id): i.timestamp for i in interactions}
        latest = {
            s: [time[r.user_id, r.item_id] for r in reasons if r.split == s]
            for s in ("train", "valid", "test")
        }
        assert max(latest["train"]) < min(latest["valid"] + latest["test"])
        assert max(latest["valid"], default=0) < min(latest["test"], default=float("inf"))
    assert _sides_of_added(tmp_path, reasons[::3]) == [r for r in reasons if r in reasons[::3]]


def test_split_by_time_needs_times(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="timestamp"):
        _split("time", tmp_path, times=False)


def test_a_new_item_is_on_the_side_of_its_first_interaction(tmp_path: Path) -> None:
    items = {name: Item(name) for name in "abc"}
    interactions = [Interaction("u", "a", timestamp=float(n)) for n in range(1, 2)]
    interactions += [Interaction(f"v{n}", "a", timestamp=float(n)) for n in range(2, 10)]
    interactions += [Interaction("w", "b", timestamp=99.0)]
    reasons = [Reason(i.user_id, i.item_id, "") for i in interactions]
    rule = SplitRule(("time",), times=(0.1, 0.0))
    items = _resplit(items, interactions, reasons, rule, tmp_path)[0].items
    assert [items[name].split for name in "abc"] == ["train", "test", "train"]


def test_mistakes_in_the_rule_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'moon'"):
        split_rule(Config(split=SplitConfig("moon"), simulate=SimulateConfig(users=0)))
    with pytest.raises(DataError, match="simulate"):
        split_rule(Config(split=SplitConfig("time"), simulate=SimulateConfig(users=10)))
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_split_rule(tmp_path)


some_items = st.lists(
    st.tuples(st.text(min_size=1, max_size=3), st.text(max_size=2), st.sampled_from(["shop", "news"])),
    min_size=1,
)


@given(some_items, st.floats(0, 0.5), st.floats(0, 0.49), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_on_disk_as_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    test: float,
    valid: float,
    seed: int,
) -> None:
    items = {name: Item(name, group=group, domain=domain) for name, group, domain in rows}
    split_on_disk(list(items.values()), test, valid, seed, tmp_path_factory.mktemp("staged"))
    domain: dict[str, str] = {}  # a group that spans domains counts in its first
    for item in items.values():
        domain[item.group] = min(domain.get(item.group, item.domain), item.domain)
    expected: dict[str, str] = {}
    for name in set(domain.values()):
        expected |= assign_splits((g for g, d in domain.items() if d == name), test, valid, seed)
    assert {item.id: item.split for item in items.values()} == {
        item.id: expected[item.group] for item in items.values()
    }
