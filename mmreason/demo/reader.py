"""The quickstart's catalogue: made-up products, clips and news, drawn once and then read as plain tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmreason.config import Config
from mmreason.demo import words
from mmreason.files import atomic_write
from mmreason.progress import Progress
from mmreason.readers.source import Tables
from mmreason.shops.tables import read_folder

Rng = np.random.Generator

_EDITION = 2  # raised when items or their drawing change, so that files drawn before count as none


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the made-up catalogue.

    Args:
        items_per_domain: Items each of shop, video and news.
    """

    items_per_domain: int = 120


def read(config: Config, options: DemoOptions) -> Tables:
    """Make the catalogue under ``<run_dir>/raw`` if it is not there yet, then read its tables."""
    root = config.path("raw")
    make(root, options.items_per_domain, config.seed)
    return read_folder(root)


def make(root: Path, items_per_domain: int, seed: int) -> None:
    """Write ``items.jsonl`` and its media; an item depends on seed and number alone, so drawn files are kept.

    Args:
        root: Folder to write to.
        items_per_domain: Items each of shop, video and news.
        seed: Names the media folder, so that another seed draws other files.
    """
    records = []
    total = len(_DOMAINS) * items_per_domain
    with Progress(total, "draw catalogue") as progress:
        for place, (domain, draw) in enumerate(_DOMAINS.items()):
            folder = root / f"media-{_EDITION}-{seed}" / domain
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(items_per_domain):
                rng = np.random.default_rng([seed, place, number])
                records.append({"domain": domain} | draw(rng, f"{domain}-{number:05d}", folder, root))
                progress.add()
    with atomic_write(root / "items.jsonl") as file:
        file.writelines(json.dumps(record).encode() + b"\n" for record in records)


def _brush(rng: Rng) -> Rng:
    """A generator to draw with, which takes nothing from that of the texts: they are the same if a file is there."""
    return rng.spawn(1)[0]


def _pick(rng: Rng, options: Any) -> str:
    options = list(options)
    return options[rng.integers(len(options))]


def _fill(rng: Rng, sentences: Any, count: int, **slots: str) -> str:
    """``count`` of the sentences, in order, with the slots filled."""
    sentences = list(sentences)
    chosen = sorted(rng.permutation(len(sentences))[:count])
    filled = [sentences[i].format(**slots) for i in chosen]
    return " ".join(text[0].upper() + text[1:] for text in filled)


def _product(rng: Rng, item_id: str, folder: Path, root: Path) -> dict[str, Any]:
    from mmreason.demo.render import COLORS, PRODUCTS, draw_product, save_jpeg

    category, color, pattern = _pick(rng, PRODUCTS), _pick(rng, COLORS), _pick(rng, words.PATTERNS)
    material, use = _pick(rng, words.MATERIALS[category]), _pick(rng, words.USES)
    brand = _pick(rng, words.BRANDS)
    slots = {
        "category": category,
        "material": material,
        "use": use,
        "brand": brand,
        "detail": _pick(rng, words.DETAILS),
    }
    text = _fill(rng, words.PRODUCT_FIRST, 1, **slots) + " " + _fill(rng, words.PRODUCT_MORE, 2, **slots)
    path = folder / f"{item_id}.jpg"
    if not path.exists():
        save_jpeg(draw_product(category, color, pattern, _brush(rng)), path)
    return {
        "id": item_id,
        "title": f"{brand} {category.title()}",
        "text": text,
        "images": [path.relative_to(root).as_posix()],
        "attributes": {
            "category": category,
            "color": color,
            "pattern": pattern,
            "material": material,
            "use": use,
        },
    }


def _clip(rng: Rng, item_id: str, folder: Path, root: Path) -> dict[str, Any]:
    from mmreason.demo.render import COLORS
    from mmreason.demo.scenes import ACTIONS, SCENES, SPRITES, draw_clip

    topic, color, action, scene = (_pick(rng, options) for options in (SPRITES, COLORS, ACTIONS, SCENES))
    mood, seconds = _pick(rng, words.MOODS), float(rng.choice([2.0, 2.5, 3.0]))
    slots = {"topic": topic, "scene": scene, "mood": mood, "seconds": f"{seconds:g}"}
    path = folder / f"{item_id}.mp4"
    if not path.exists():
        draw_clip(topic, color, action, scene, seconds, path, _brush(rng))
    return {
        "id": item_id,
        "title": _pick(rng, words.CLIP_TITLES).format(**slots).capitalize(),
        "text": _fill(rng, words.CLIP_TEXT, 2, **slots),
        "video": path.relative_to(root).as_posix(),
        "attributes": {"category": topic, "color": color, "action": action, "scene": scene, "mood": mood},
    }


def _article(rng: Rng, item_id: str, folder: Path, root: Path) -> dict[str, Any]:
    from mmreason.demo.render import COLORS, save_jpeg
    from mmreason.demo.scenes import ICONS, draw_lead

    topic, color, region, tone, form = (
        _pick(rng, options) for options in (ICONS, COLORS, words.REGIONS, words.TONES, words.FORMATS)
    )
    subject = _pick(rng, words.SUBJECTS[topic])
    slots = {"topic": topic, "region": region, "tone": tone, "form": form, "subject": subject}
    path = folder / f"{item_id}.jpg"
    if not path.exists():
        save_jpeg(draw_lead(topic, color, _brush(rng)), path)
    text = (
        _fill(rng, words.NEWS_FIRST, 1, **slots)
        + " "
        + _fill(rng, words.NEWS_MORE, int(rng.integers(2, 5)), **slots)
    )
    headline = _pick(rng, words.HEADLINES).format(**slots)
    return {
        "id": item_id,
        "title": headline[0].upper() + headline[1:],
        "text": text,
        "images": [path.relative_to(root).as_posix()],
        "attributes": {"category": topic, "color": color, "region": region, "tone": tone, "format": form},
    }


_DOMAINS: dict[str, Callable[[Rng, str, Path, Path], dict[str, Any]]] = {
    "shop": _product,
    "video": _clip,
    "news": _article,
}
