"""The ``simulate`` stage: shoppers for a catalogue without behaviours, reasons for one whose users have none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mmreason.catalogue.catalogue import describe_reasons
from mmreason.catalogue.index import read_index, use_tables
from mmreason.catalogue.tables import read_table, write_table
from mmreason.config import Config
from mmreason.database import Database
from mmreason.files import TEMPORARY, remove
from mmreason.schema import DataError, Interaction, Item, Reason, from_record
from mmreason.targets.simulate import reasons_for_users, simulate

OWN_USERS = 2000
"""Of a catalogue with users and no reasons, so many get some to learn from."""

_OWN_USERS = """
    SELECT * FROM interactions WHERE user_id IN (
        SELECT user_id FROM interactions WHERE event <> 'impression' GROUP BY user_id
        HAVING count(DISTINCT item_id) > 1 ORDER BY md5(user_id || '{seed}') LIMIT {users}
    ) ORDER BY user_id, timestamp, item_id
"""


def simulate_shoppers(config: Config) -> str:
    """The stage: shoppers in ``<run_dir>/shoppers``, read in the place of the catalogue's own behaviours.

    Shoppers are made only if they are asked for. With ``simulate.users`` left empty a catalogue with users of its own
    and no reasons gets reasons worded for up to :data:`OWN_USERS` of them, if a language model is to learn from them.

    Raises:
        DataError: If shoppers are asked for and the items allow none.
    """
    folder, shoppers = config.path("catalogue"), config.path("shoppers")
    index = read_index(folder)
    if any(path.is_relative_to(shoppers) for path in index.paths.values()):  # those of an earlier run
        use_tables(folder, {})
        index = read_index(folder)
    own = index.counts["interactions"] + index.counts["reasons"]
    users = config.simulate.users or 0
    if users <= 0:
        remove(shoppers)
        has = f"{index.counts['interactions']:,} interactions and {index.counts['reasons']:,} reasons of its own"
        to_learn = (
            config.simulate.users is None and config.generate.trains_lm and index.counts["interactions"]
        )
        if to_learn and not index.counts["reasons"]:
            return f"no shoppers: the catalogue has {has}; {_word_reasons(config, index.paths)}"
        return f"no shoppers: the catalogue has {has}"
    items = {item.id: item for item in read_table(index.paths["items"], Item)}
    interactions, reasons = simulate(items, replace(config.simulate, users=users), config.seed)
    interactions.sort(key=lambda interaction: (interaction.user_id, interaction.timestamp))
    tables = {name: shoppers / f"{name}.parquet" for name in ("interactions", "reasons")}
    shoppers.mkdir(exist_ok=True)
    write_table(tables["interactions"], Interaction, interactions)
    write_table(tables["reasons"], Reason, reasons)
    use_tables(folder, tables)
    count = len({interaction.user_id for interaction in interactions})
    replaced = f" in place of the catalogue's own {own:,} rows" if own else ""
    made = f"{count:,} simulated shoppers, {len(interactions):,} interactions{replaced}"
    return "; ".join([made, *describe_reasons(tables["reasons"], config.simulate.favour)])


def _word_reasons(config: Config, paths: Mapping[str, Path]) -> str:
    """Reasons for the catalogue's own users, beside their own interactions."""
    folder, shoppers = config.path("catalogue"), config.path("shoppers")
    histories: dict[str, list[Interaction]] = defaultdict(list)
    with Database(folder, folder / (TEMPORARY + "sorting")) as database:
        database.view("interactions", paths["interactions"])
        for batch in database.stream(_OWN_USERS.format(seed=config.seed, users=OWN_USERS), 8192):
            for row in batch.to_pylist():
                histories[row["user_id"]].append(from_record(Interaction, row))
    items = {item.id: item for item in read_table(paths["items"], Item)}
    try:
        reasons = reasons_for_users(items, histories, config.simulate, config.seed)
    except DataError as error:
        return f"none can be worded ({error})"
    if not reasons:
        return "none can be worded, as no user took several items that share an attribute's value"
    shoppers.mkdir(exist_ok=True)
    write_table(shoppers / "reasons.parquet", Reason, reasons)
    use_tables(folder, {"reasons": shoppers / "reasons.parquet"})
    users = len({reason.user_id for reason in reasons})
    return "; ".join(
        [f"reasons worded for {users:,} of its users", *describe_reasons(shoppers / "reasons.parquet")]
    )
