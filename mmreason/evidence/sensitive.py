"""What nobody may infer of a person from a history: health, sexuality, religion and the like (GDPR, article 9)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

import yaml

from mmreason.language import UNSPACED

Terms = Mapping[str, Iterable[str]]
"""Kind → terms, beside those of ``sensitive.yaml``."""


def sensitive_kind(text: str, more: Terms | None = None) -> str:
    """What a concept would tell of a person who was said to like it; empty if nothing that is protected.

    Words count in singular and plural, whatever their case; hyphens count as spaces.

    Args:
        text: A concept's name, or a reason.
        more: Kind → further terms.

    Example:
        >>> sensitive_kind("Weight-loss tea"), sensitive_kind("孕妇装"), sensitive_kind("red hats")
        ('health', 'family', '')
    """
    plain = re.sub(r"[-‑_/]+", " ", text.lower())
    found = _standard().search(plain)
    if found is None and more:
        found = _pattern(tuple((kind, tuple(terms)) for kind, terms in more.items())).search(plain)
    return found.lastgroup or "" if found else ""


@cache
def _standard() -> re.Pattern[str]:
    read = yaml.safe_load(files("mmreason.evidence").joinpath("sensitive.yaml").read_text(encoding="utf-8"))
    return _pattern(
        tuple((kind, tuple(t for terms in by.values() for t in terms)) for kind, by in read.items())
    )


@cache
def _pattern(terms: tuple[tuple[str, tuple[str, ...]], ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{'|'.join(map(_one, each))})" for kind, each in terms))


def _one(term: str) -> str:
    plain = re.escape(re.sub(r"[-‑_/]+", " ", term.lower()))
    return plain if UNSPACED.search(term) else rf"\b{plain}(?:s|es)?\b"
