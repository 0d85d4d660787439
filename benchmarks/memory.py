"""Memory of align, embed, search and train over made-up catalogues of two sizes: it must not grow with the catalogue.

    python benchmarks/memory.py
    python benchmarks/memory.py --small 2000 --large 20000        # a quick look

Every stage runs in a process of its own, whose anonymous resident memory (RssAnon of /proc, so without pages that are
mapped from files) is sampled; the largest counts. Items have a text of their own and a picture that a few hundred
share; the towers are tiny and random, as memory that does not depend on the catalogue only hides what does.
"""

from __future__ import annotations

import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bars import Bars
from jsonargparse import auto_cli
from PIL import Image

from mmreason.catalogue.index import new_index
from mmreason.catalogue.tables import write_table
from mmreason.config import AlignConfig, Config, EmbedConfig, EvaluateConfig, PackConfig, ReasonConfig
from mmreason.schema import Evidence, Interaction, Item, Reason

PICTURES, USERS, REASONS = 200, 50, 400
WORDS = (
    "red",
    "blue",
    "green",
    "wool",
    "silk",
    "rain",
    "sun",
    "city",
    "night",
    "garden",
    "coat",
    "hat",
    "bag",
)


def main(small: int = 20_000, large: int = 200_000, growth: float = 0.1) -> None:
    """Run the stages.

    Args:
        small: Items of the smaller catalogue.
        large: Items of the larger one.
        growth: Share by which the memory may grow from one to the other.
    """
    bars = Bars("memory")
    peaks: dict[int, dict[str, float]] = {}
    for items in (small, large):
        with tempfile.TemporaryDirectory() as folder:
            config = make_run(Path(folder), items)
            peaks[items] = {}
            for name, stage in STAGES.items():
                started = time.monotonic()
                peaks[items][name] = peak_of(stage, config)
                seconds = time.monotonic() - started
                print(f"{items:,} items: {name}: {peaks[items][name]:.0f} MB in {seconds:.0f} s", flush=True)
    for name in STAGES:
        if name != "pack":
            before, after = peaks[small][name], peaks[large][name]
            bars.check(
                f"{name}: {before:.0f} MB → {after:.0f} MB, growth", after / before - 1, growth, at_most=True
            )
    bars.finish()


def peak_of(stage: Callable[[Config], None], config: Config) -> float:
    """Largest anonymous resident memory of a process that runs a stage, in MB.

    Raises:
        SystemExit: If the stage failed.
    """
    process = multiprocessing.get_context("spawn").Process(target=stage, args=(config,))
    process.start()
    largest = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.is_alive():
        try:
            found = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        except OSError:
            break
        largest = max([largest, *(int(line.split()[1]) for line in found)])
        time.sleep(0.02)
    process.join()
    if process.exitcode:
        raise SystemExit(f"{stage.__name__} failed with exit status {process.exitcode}")
    return largest / 1024


def pack_stage(config: Config) -> None:
    """Not measured here: the other stages read what it writes."""
    from mmreason.shards.pack import pack

    pack(config)


def align_stage(config: Config) -> None:
    """Alignment from features."""
    from mmreason.align.train import align

    align(config)


def embed_stage(config: Config) -> None:
    """The embedding store."""
    from mmreason.embed.job import embed

    embed(config)


def search_stage(config: Config) -> None:
    """One search."""
    from mmreason.embed.search import search

    assert search("red wool coat", run_dir=config.run_dir)


def train_stage(config: Config) -> None:
    """The reason model, a few steps of each of its stages."""
    from mmreason.reason.train import train

    train(config)


STAGES = {
    "pack": pack_stage,
    "align": align_stage,
    "embed": embed_stage,
    "search": search_stage,
    "train": train_stage,
}


def make_run(folder: Path, items: int) -> Config:
    """A catalogue of so many items, and tiny models."""
    config = Config(
        run_dir=str(folder / "run"),
        device="cpu",
        dtype="fp32",
        pack=PackConfig(shard_size=2048),
        align=AlignConfig(
            image="timm:test_efficientnet",
            image_weights="",
            image_feature="pooled",
            text_weights=str(tiny_text_encoder(folder / "text")),
            steps=40,
            batch_size=64,
        ),
        embed=EmbedConfig(batch_size=32, decode_workers=1),
        reason=ReasonConfig(
            lm=str(tiny_lm(folder / "lm")),
            hidden_size=32,
            layers=1,
            warmup_steps=10,
            projector_steps=5,
            lora_steps=5,
            batch_size=4,
            warmup_batch_size=8,
        ),
        evaluate=EvaluateConfig(baseline=False),
    )
    media = folder / "run" / "raw"
    media.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((32, 32)).save(file, "png")
        (media / f"{number}.png").write_bytes(file.getvalue())
    catalogue = config.path("catalogue")
    catalogue.mkdir()
    write_table(catalogue / "items.parquet", Item, made_items(items))
    write_table(catalogue / "interactions.parquet", Interaction, made_interactions(items))
    write_table(catalogue / "reasons.parquet", Reason, made_reasons(items))
    new_index(catalogue, media).write()
    return config


def made_items(items: int) -> Iterator[Item]:
    """Nine of ten for training."""
    for number in range(items):
        words = [WORDS[(number // 13**place) % 13] for place in range(4)]
        yield Item(
            f"sku-{number}",
            f"{' '.join(words[:2])} {number}",
            text=f"made of {words[2]} for the {words[3]}, number {number}",
            images=[f"{number % PICTURES}.png"],
            attributes={"material": [words[2]]},
            split="train" if number % 10 else "valid",
        )


def made_interactions(items: int) -> Iterator[Interaction]:
    """Of the same number of users, whatever the number of items."""
    for user in range(USERS):
        for step in range(8):
            number = (user * 7919 + step * 104_729) % items
            yield Interaction(f"u{user}", f"sku-{number}", "click", timestamp=float(step + 1))


def made_reasons(items: int) -> Iterator[Reason]:
    """Likewise."""
    for number in range(REASONS):
        item = (number * 6151 + 17) % items
        text = f"You like {WORDS[number % 13]}, so this is for you."
        yield Reason(f"u{number % USERS}", f"sku-{item}", text, [Evidence("material", "wool")], split="train")


def tiny_text_encoder(folder: Path) -> Path:
    """A BERT of one layer with random weights."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_lm(folder: Path) -> Path:
    """A Llama of two layers with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_key_value_heads=2, eos_token_id=1, pad_token_id=0, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer() -> Any:
    """One token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    text = " ".join([*WORDS, "you like so this is for made of the number , . user item history why"])
    words = {
        word: place for place, word in enumerate(["<pad>", "<eos>", "<unk>", *dict.fromkeys(text.split())])
    }
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=512
    )


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
