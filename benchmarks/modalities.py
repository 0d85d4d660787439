"""Eight kinds of catalogue, whatever they lack, through every stage up to search and the evaluation of the space.

    python benchmarks/modalities.py --data ../shared/data
    python benchmarks/modalities.py --data ../shared/data --only "one item"

Each catalogue is small and each stage short: what is asked is whether it goes through, not how good it gets. Where
there are reasons, the reason model is trained for a few steps as well.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from bars import Bars
from jsonargparse import auto_cli

from mmreason.config import AlignConfig, CatalogueConfig, Config, EmbedConfig, ReasonConfig, SimulateConfig
from mmreason.embed.search import search
from mmreason.evaluate.alignment import evaluate_alignment
from mmreason.records import STAGES

STAGES_OF_ALL = ("ingest", "simulate", "pack", "align", "embed")
FITTED = {"Chinese texts": "tfidf"}  # the default text encoder reads English


def main(data: str = "../shared/data", only: str = "", items: int = 24) -> None:
    """Run the catalogues.

    Args:
        data: Folder of the real data that they are made of.
        only: Name of one catalogue; empty for all.
        items: Items of each, at most.
    """
    bars = Bars("modalities")
    names = [name for name in CATALOGUES if only in ("", name)]
    through = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            problem = run(name, Path(data), Path(folder), items)
        through += not problem
        print(f"{name}: {problem or 'through'}", flush=True)
    bars.check("share of catalogues that went through", through / len(names), 1)
    print(f"catalogues through: {through}/{len(names)} (bar {len(names)})")
    raise SystemExit(not all(bars.met))


def run(name: str, data: Path, folder: Path, items: int) -> str:
    """One catalogue through all stages; what went wrong, or nothing."""
    source = folder / "source"
    source.mkdir()
    stage = "making the catalogue"
    try:
        reader, options = CATALOGUES[name](data, source, items)
        config = Config(
            run_dir=str(folder / "run"),
            device="cpu",
            catalogue=CatalogueConfig(reader, str(source), options),
            simulate=SimulateConfig(users=0),
            align=AlignConfig(steps=20, batch_size=16, dim=64),
            embed=EmbedConfig(decode_workers=1),
            reason=ReasonConfig(
                warmup_steps=2, projector_steps=1, lora_steps=1, batch_size=4, warmup_batch_size=8
            ),
        )
        if name in FITTED:
            config.align.text, config.align.text_weights = FITTED[name], ""
        config.evaluate.baseline = False
        stages = {stage.name: stage for stage in STAGES}
        for stage in (*STAGES_OF_ALL, *(["train"] if name == "texts with reasons" else [])):
            print(f"  {name}: {stage}: {stages[stage].run(config)}", flush=True)
        stage = "search"
        found = search("red", run_dir=config.run_dir, top_k=1)
        print(f"  {name}: {stage}: {found}", flush=True)
        stage = "evaluate-alignment"
        print(f"  {name}: {stage}: {evaluate_alignment(config)}", flush=True)
        return "" if found else "search found nothing"
    except Exception as error:
        traceback.print_exc()
        return f"{stage}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def xrec(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """Texts with reasons of real people."""
    for split in ("train", "valid", "test"):
        lines = (data / "xrec/amazon" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()[:items]
        (source / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "xrec", {}


def movielens(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """Films with descriptions and what people rated."""
    folder = data / "movielens_small/ml-latest-small"
    (source / "movies.csv").write_text(
        "".join((folder / "movies.csv").read_text(encoding="utf-8").splitlines(keepends=True)[: items + 1]),
        encoding="utf-8",
    )
    kept = {row["movieId"] for row in _rows(source / "movies.csv")}
    ratings = [row for row in _rows(folder / "ratings.csv") if row["movieId"] in kept]
    _write(source / "ratings.csv", ratings[: 40 * items])
    return "movielens", {"texts": str(data / "movie_text_yulan/data/item.csv")}


def pictures(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """Pictures and nothing else."""
    found = sorted((data / "grocery/dataset/iconic-images-and-descriptions").rglob("*_Iconic.jpg"))[:items]
    for number, path in enumerate(found):
        shutil.copyfile(path, source / f"{number}.jpg")
    _write(source / "items.csv", [{"id": n, "images": f"{n}.jpg"} for n in range(len(found))])
    return "tables", {}


def videos(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """Videos and nothing else."""
    found = sorted((data / "video/asl_gestures").glob("*.mkv"))[: min(items, 10)]
    for path in found:
        shutil.copyfile(path, source / path.name)
    _write(source / "items.csv", [{"id": path.stem, "video": path.name} for path in found])
    return "tables", {}


def one_item(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """A shop that has just opened."""
    pictures(data, source, 1)
    _write(source / "items.csv", [{"id": "1", "title": "Fresh apples", "images": "0.jpg"}])
    return "tables", {}


def chinese(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """Restaurants by what a guest wrote of them."""
    rows = _rows(data / "zh_asap/data/train_sample.csv")[:items]
    made = [{"id": row["index"], "title": row["reviewbody"][:20], "text": row["reviewbody"]} for row in rows]
    _write(source / "items.csv", made)
    return "tables", {}


def mind(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """News in MIND's format; its log names articles that are gone, as the real one does."""
    topics = ["sports", "finance", "travel", "health"]
    news = [
        [
            f"N{n}",
            topics[n % 4],
            "more",
            f"What is new in {topics[n % 4]}, part {n}",
            f"A report on {n}.",
            "",
            "[]",
            "[]",
        ]
        for n in range(items)
    ]
    log = [
        [
            str(n),
            f"U{n % 5}",
            f"11/{10 + n % 9}/2019 9:05:58 AM",
            f"N{n % items} N9{n}",
            f"N{(n + 1) % items}-1 N8{n}-0",
        ]
        for n in range(2 * items)
    ]
    for name, lines in (("news.tsv", news), ("behaviors.tsv", log)):
        (source / name).write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return "mind", {}


def no_behaviours(data: Path, source: Path, items: int) -> tuple[str, dict[str, str]]:
    """Products with picture and description that nobody has bought yet."""
    folder = data / "grocery/dataset"
    made = []
    for row in _rows(folder / "classes.csv")[:items]:
        picture = folder / row["Iconic Image Path (str)"].lstrip("/")
        text = folder / row["Product Description Path (str)"].lstrip("/")
        shutil.copyfile(picture, source / picture.name)
        name = row["Class Name (str)"]
        made.append(
            {"id": name, "title": name, "text": text.read_text(encoding="utf-8"), "images": picture.name}
        )
    _write(source / "items.csv", made)
    return "tables", {}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: list) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


Make = Callable[[Path, Path, int], tuple[str, dict[str, str]]]
CATALOGUES: dict[str, Make] = {
    "texts with reasons": xrec,
    "films with descriptions": movielens,
    "pictures only": pictures,
    "videos only": videos,
    "one item": one_item,
    "Chinese texts": chinese,
    "news in MIND's format": mind,
    "no behaviours": no_behaviours,
}


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
