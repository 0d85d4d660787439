"""Ingest and pack of catalogues in the Amazon Reviews 2023 format, made on the fly: memory must not follow the count.

python benchmarks/ingest_scale.py                                  # 0.1, 0.3 and 1 million items, 20 reviews each
python benchmarks/ingest_scale.py --items 5000 10000 20000         # smaller, and no bars that small sizes cannot show
python benchmarks/ingest_scale.py --stages ingest                  # without pack

Between the two every hundredth review becomes a training reason, so that pack has targets with histories of some forty
reviews. Each stage of each size is a process of its own, as `mmreason` on the command line is; its peak resident memory
is what the kernel says of it. A few rows in every thousand are bad (not JSON, an item that is not there, a rating of 9,
a review twice), and must all be found again in the quarantine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bars import Bars

GIGABYTE = 1 << 30
REVIEWS = 20
CHUNK = 100_000
SHOWS = 100_000  # items; smaller catalogues do not fill the buffers, so that memory still follows the count
WORDS = [
    *("soft", "warm", "light", "sturdy", "small", "wide", "easy", "quiet", "bright", "smooth"),
    *("fits", "well", "for", "travel", "work", "running", "kitchen", "garden", "loves", "colour"),
    *("washes", "clean", "after", "weeks", "of", "daily", "use", "the", "zip", "is"),
    "strong",
]


def make(root: Path, items: int, seed: int = 0) -> None:
    """Write ``meta_Made.jsonl.gz``, ``Made.jsonl.gz`` and ``expected.json``: what must be kept and set aside."""
    root.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    with gzip.open(root / "meta_Made.jsonl.gz", "wt", compresslevel=1, encoding="utf-8") as file:
        for number in range(items):
            file.write(json.dumps(_item(number, rng)) + "\n")
    bad = _write_reviews(root / "Made.jsonl.gz", items, seed)
    (root / "expected.json").write_text(json.dumps({"items": items, "bad": bad}))


def _item(number: int, rng: random.Random) -> dict:
    def text(words: int) -> str:
        return " ".join(rng.choices(WORDS, k=words))

    address = f"https://example.invalid/{number}"
    return {
        "main_category": "All Beauty",
        "title": f"{text(6)} {number}",
        "average_rating": 4.2,
        "rating_number": rng.randrange(5000),
        "features": [text(12) for _ in range(3)],
        "description": [text(40)],
        "price": 9.99,
        "images": [
            {"thumb": f"{address}_t.jpg", "large": f"{address}.jpg", "variant": "MAIN", "hi_res": None}
        ],
        "videos": [],
        "store": rng.choice(WORDS).title(),
        "categories": ["Home", rng.choice(WORDS).title()],
        "details": {"Color": rng.choice(WORDS), "Material": rng.choice(WORDS), "UPC": str(rng.random())},
        "parent_asin": f"B{number:09d}",
        "bought_together": None,
    }


def _write_reviews(path: Path, items: int, seed: int) -> dict[str, int]:
    """Reviews in no order of user or time; returns reason → how many bad rows."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    texts = [" ".join(random.Random(n).choices(WORDS, k=20)) for n in range(5000)]
    bad: Counter[str] = Counter()
    with gzip.open(path, "wb", compresslevel=1) as file:
        for first in range(0, items * REVIEWS, CHUNK):
            n = min(CHUNK, items * REVIEWS - first)
            frame = pl.DataFrame(
                {
                    "rating": rng.integers(1, 6, n).astype(float),
                    "title": pl.Series(texts).gather(rng.integers(0, len(texts), n)).str.slice(0, 25),
                    "text": pl.Series(texts).gather(rng.integers(0, len(texts), n)),
                    "asin": "A",
                    "parent_asin": [f"B{number:09d}" for number in rng.integers(0, items, n)],
                    "user_id": [f"AE{number:024d}" for number in rng.integers(0, max(items // 2, 1), n)],
                    "timestamp": 1_500_000_000_000 + (first + rng.permutation(n)) * 4001,  # no two the same
                    "helpful_vote": rng.integers(0, 9, n),
                    "verified_purchase": True,
                }
            )
            frame.write_ndjson(file)
            line = json.dumps(frame.row(n - 1, named=True))
            gone, nine = json.loads(line) | {"parent_asin": "GONE"}, json.loads(line) | {"rating": 9.0}
            file.write(b"{broken\n" + f"{json.dumps(gone)}\n{json.dumps(nine)}\n{line}\n".encode())
            bad.update(("not a JSON object", "unknown item", "rating out of range", "duplicate row"))
    return dict(bad)


def run(arguments: list[str]) -> tuple[float, int]:
    """Seconds and peak resident bytes of a command."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} left with {process.returncode}")
    return time.monotonic() - started, usage.ru_maxrss * 1024


def check_counts(root: Path, catalogue: Path) -> None:
    """Everything that was made is kept or in the quarantine, for the reason it was made for."""
    expected = json.loads((root / "expected.json").read_text())
    index = json.loads((catalogue / "catalogue.json").read_text())
    with (catalogue / "quarantine.jsonl").open(encoding="utf-8") as file:
        reasons = Counter(json.loads(line)["reason"] for line in file)
    assert reasons == expected["bad"], (reasons, expected["bad"])
    assert index["items"] == expected["items"], index
    assert index["interactions"] == expected["items"] * REVIEWS, index


def add_reasons(catalogue: Path) -> int:
    """Every hundredth interaction becomes a reason (as `mine-reasons` would make them); returns how many."""
    import duckdb

    path = catalogue / "reasons.parquet"
    rows = f"read_parquet('{catalogue}/interactions.parquet', file_row_number = true)"
    with duckdb.connect(config={"memory_limit": "500MB"}) as sql:
        sql.execute(
            f"""
            COPY (
                SELECT user_id, item_id, 'It fits.' AS text, '[]' AS evidence, NULL::DOUBLE AS score,
                    NULL::BOOLEAN AS verified, 'train' AS split, '' AS profile
                FROM {rows} WHERE file_row_number % 100 = 0
            ) TO '{path}' (FORMAT parquet)
            """
        )
        (reasons,) = sql.execute(f"SELECT count(*) FROM '{path}'").fetchone() or (0,)
    index = catalogue / "catalogue.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"reasons": reasons}))
    return reasons


def measure(items: int, stages: list[str], folder: Path) -> dict[str, int]:
    """Make a catalogue, run the stages; returns stage → peak resident bytes."""
    root, out = folder / "source", folder / "run"
    run([__file__, "--make", str(root), "--items", str(items)])
    peaks = {}
    reasons = 0
    for stage in stages:
        options = ["amazon", "--root", str(root)] if stage == "ingest" else []
        command = ["-m", "mmreason.cli", stage, *options, "--run_dir", str(out), "--simulate.users", "0"]
        seconds, peaks[stage] = run(command)
        rows = items * (1 + REVIEWS)
        print(
            f"{stage} of {items:,} items and {items * REVIEWS:,} reviews: {seconds:.0f} s, "
            f"{rows / seconds:,.0f} rows/s, {peaks[stage] / GIGABYTE:.2f} GB",
            flush=True,
        )
        if stage == "ingest":
            check_counts(root, out / "catalogue")
            reasons = add_reasons(out / "catalogue")
        else:
            totals = json.loads((out / "shards" / "manifest.json").read_text())["totals"]
            assert totals["items"] == items and totals["reasons-train"] == reasons, totals
    shutil.rmtree(folder)
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--stages", nargs="+", default=["ingest", "pack"])
    parser.add_argument("--folder", type=Path, help="where to work; needs some 20 GB at full size")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.make, options.items[0])
        return
    bars = Bars("ingest_scale")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        peaks = [measure(items, options.stages, Path(folder, str(items))) for items in options.items]
    for stage in options.stages:
        largest = max(peak[stage] for peak in peaks) / GIGABYTE
        bars.check(f"{stage}, peak resident GB", largest, 2.0, at_most=True, form=".2f")
        if len(peaks) > 1 and options.items[-2] >= SHOWS:
            growth = peaks[-1][stage] / peaks[-2][stage]
            times = options.items[-1] / options.items[-2]
            bars.check(
                f"{stage}, memory for {times:.1f} times the rows", growth, 1.25, at_most=True, form=".2f"
            )
    bars.finish()


if __name__ == "__main__":
    main()
