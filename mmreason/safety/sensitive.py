"""What nobody may infer of a person from a history: health, sexuality, religion and the like (GDPR, article 9)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mmreason.packaged import packaged_yaml
from mmreason.safety.terms import TermFinder
from mmreason.schema import DataError

Key = TypeVar("Key", bound=Hashable)


def sensitive_kind(text: str, more: TermFinder | None = None) -> str:
    """What a concept would tell of a person who was said to like it; empty if nothing that is protected.

    Words count in singular and plural, whatever their case; hyphens count as spaces.

    Args:
        text: A concept's name, or a reason.
        more: Finds further terms, see :func:`read_terms`.

    Example:
        >>> sensitive_kind("Weight-loss tea"), sensitive_kind("孕妇装"), sensitive_kind("red hats")
        ('health', 'family', '')
    """
    return _kind(text) or (next((kind for kind, _ in more.find(text)), "") if more else "")


def sensitive_together(texts: Mapping[Key, str], more: TermFinder | None = None) -> dict[Key, str]:
    """Which of several texts would tell of a person what nobody may infer: alone, or together with others.

    Folic acid is harmless, and so are baby clothes; both in one history tell of a pregnancy.

    Args:
        texts: Key → what a concept or an item of one history is called.
        more: Finds further terms that tell alone.

    Returns:
        Key → kind, of those that tell.

    Example:
        >>> sensitive_together({"a": "Folic acid", "b": "baby clothes", "c": "red hats"})
        {'a': 'family', 'b': 'family'}
        >>> sensitive_together({"b": "baby clothes", "c": "red hats"})
        {}
    """
    told = {key: kind for key, text in texts.items() if (kind := sensitive_kind(text, more))}
    shown: dict[str, dict[Key, set[Hashable]]] = {}  # kind → key → its signs
    for key, text in texts.items():
        for sign in _signs_of(text):
            shown.setdefault(sign.split(" ")[0], {}).setdefault(key, set()).add(sign)
    for key, kind in told.items():
        shown.setdefault(kind, {}).setdefault(key, set()).add(key)
    together = {
        key: kind
        for kind, keys in sorted(shown.items())
        if len(keys) > 1 and len(set().union(*keys.values())) > 1
        for key in keys
    }
    return {key: told.get(key) or together[key] for key in texts if key in told or key in together}


def read_terms(path: str | Path) -> TermFinder:
    """Further terms of a YAML file: kind → terms, or kind → language → terms as in ``sensitive.yaml``.

    Raises:
        DataError: If it cannot be read or holds something else; the message names the file and the kind.
    """
    try:
        read = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(read, dict):
        raise DataError(f"{path}: must be kinds with their terms, such as `belief: [astrology]`")
    return TermFinder({str(kind): _listed(terms, f"{path}: {kind}") for kind, terms in read.items()})


def _listed(terms: Any, where: str) -> list[str]:
    lists = list(terms.values()) if isinstance(terms, dict) else [terms]
    if not all(isinstance(some, list) and all(isinstance(term, str) for term in some) for some in lists):
        raise DataError(f"{where}: must be a list of terms, each of them text; quote numbers, yes and no")
    return [term for some in lists for term in some]


@lru_cache(maxsize=65_536)
def _kind(text: str) -> str:
    return next((kind for kind, _ in _standard().find(text)), "")


@lru_cache(maxsize=65_536)
def _signs_of(text: str) -> frozenset[str]:
    return frozenset(sign for sign, _ in _signs().find(text))


@cache
def _standard() -> TermFinder:
    read = _read("sensitive.yaml")
    safe = [term for terms in read.pop("safe").values() for term in terms]
    return TermFinder(
        {kind: [term for terms in by.values() for term in terms] for kind, by in read.items()}, safe
    )


@cache
def _signs() -> TermFinder:
    read = _read("sensitive_together.yaml")
    return TermFinder(
        {f"{kind} {number}": terms for kind, signs in read.items() for number, terms in enumerate(signs)}
    )


def _read(name: str) -> dict[str, Any]:
    read: dict[str, Any] = packaged_yaml("mmreason.safety", name)
    return read
