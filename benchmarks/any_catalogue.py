"""Ten kinds of catalogue, whatever they lack, from their folders to reasons; none has a reference reason to learn from.

    python benchmarks/any_catalogue.py --data ../shared/data
    python benchmarks/any_catalogue.py --data ../shared/data --only "one item" --keep runs/any

Each goes through the verb ``mmreason reasons``; nothing is trained. Counted are the catalogues that went through and
the requests that were answered on some rung above ``nothing``.
"""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bars import Bars
from jsonargparse import auto_cli
from modalities import chinese, mind, movielens, no_behaviours, one_item, pictures

from mmreason.bulk.parts import SCHEMA, read_parts
from mmreason.cli import main as mmreason

CHINESE = ["--align.text", "tfidf", "--align.text_weights", ""]  # the default text encoder reads English


def main(data: str = "../shared/data", only: str = "", items: int = 200, keep: str = "") -> None:
    """Run the catalogues.

    Args:
        data: Folder of the real data that they are made of.
        only: Name of one catalogue; empty for all.
        items: Items of those that are cut to size.
        keep: Folder to leave the runs in; empty for none.
    """
    bars = Bars("any_catalogue")
    names = [name for name in CATALOGUES if only in ("", name)]
    through, levels = 0, Counter[str]()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(keep or folder, name.replace(" ", "_").replace("'", ""))
            found = run(name, Path(data).resolve(), Path(folder), run_dir.resolve(), items)
        through += found is not None
        levels += found or Counter()
        print(f"{name}: {dict(found) if found is not None else 'NOT through'}", flush=True)
    bars.check("catalogues through", through / len(names), 1)
    answered = levels.total() - levels["nothing"] - levels["failed"]
    bars.check("requests answered", answered / max(levels.total(), 1), 0.97)
    bars.finish()


def run(name: str, data: Path, folder: Path, run_dir: Path, items: int) -> Counter[str] | None:
    """Reasons of one catalogue: rung → how many; None if it did not go through."""
    source = folder / "source"
    source.mkdir()
    try:
        options = CATALOGUES[name](data, source, items)
        arguments = [*options, "--run_dir", str(run_dir), "--generate.limit", "500"]
        mmreason(["reasons", *arguments])
        table = read_parts(run_dir / "generate" / "test")
        assert table.schema == SCHEMA and len(table), "no rows"
        return Counter(level or "failed" for level in table["level"].to_pylist())
    except (Exception, SystemExit):
        traceback.print_exc()
        return None


Make = Callable[[Path, Path, int], list[str]]


def _by_reader(make: Callable[[Path, Path, int], tuple[str, dict[str, str]]], *more: str) -> Make:
    """A catalogue that is written into a folder, read by a reader with options."""

    def made(data: Path, source: Path, items: int) -> list[str]:
        reader, options = make(data, source, items)
        told = [word for name, value in options.items() for word in (f"--catalogue.options.{name}", value)]
        return [str(source), "--reader", reader, *told, *more]

    return made


def _quickstart(data: Path, source: Path, items: int) -> list[str]:
    recipe = Path(__file__).parents[1] / "configs/quickstart.yaml"
    return ["--config", str(recipe), "--align.steps", "0", "--generate.writers", "[template, extract]"]


def _xrec_items(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """What XRec says of products, without its reasons and users."""
    import csv
    import json

    with (data / "xrec/amazon/test.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(next(file)) for _ in range(items)]
    with (source / "items.csv").open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["id", "title", "description"])
        writer.writerows(
            {row["iid"]: (row["iid"], row["title"], row["item_summary"]) for row in rows}.values()
        )
    return "tables", {}


def _shop(data: Path, source: Path, items: int) -> list[str]:
    shutil.copytree(data / "shop", source, dirs_exist_ok=True)
    return [str(source)]


CATALOGUES: dict[str, Make] = {
    "quickstart": _quickstart,
    "sample shop with its reviews": lambda data, source, items: [
        str(data / "magento"),
        "--reader",
        "magento",
    ],
    "films with descriptions": _by_reader(movielens),
    "XRec's items": _by_reader(_xrec_items),
    "Chinese restaurants": _by_reader(chinese, *CHINESE),
    "news in MIND's format": _by_reader(mind),
    "a Shopify shop with orders": _shop,
    "pictures only": _by_reader(pictures),
    "no behaviours": _by_reader(no_behaviours),
    "one item": _by_reader(one_item),
}


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
