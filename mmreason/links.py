"""Links that a source itself has between its items, by kind, whatever it calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from mmreason.values import is_nothing, literal, words

_NAMES = {
    "goes with": r"complement(?:s|ary(?: (?:products?|items?))?)?|cross ?sells?|accessory (?:products?|items?)",
    "bought with": r"(?:frequently |often )?bought (?:together|with)|also (?:bought|buy)",
    "related": r"related(?: (?:products?|items?))?|also view(?:ed)?",
    "alternative": r"(?:alternatives?|substitutes?|up ?sells?)(?: (?:products?|items?))?|"
    r"similar(?: (?:products?|items?))?",
}
LINKS = tuple(_NAMES)
"""Kinds of links, from an item to those that the source shows beside it: what goes with it, what people often buy with
it, what is related in whatever way, and what may be taken in its place (an up-sell is a dearer one)."""

_KINDS = {kind: re.compile(f"(?:{kind}|{names})(?: (?:skus?|ids?))?") for kind, names in _NAMES.items()}
_SIGNS = re.compile(r"[,;|\n]")


@cache
def link_kind(name: str) -> str:
    """The kind of link that a source's name for one stands for; empty if it is no such name.

    Example:
        >>> link_kind("crosssell_skus"), link_kind("Related products"), link_kind("Up-sells"), link_kind("color")
        ('goes with', 'related', 'alternative', '')
    """
    plain = re.sub(r"[\W_]+", " ", name.lower()).strip()
    return next((kind for kind, names in _KINDS.items() if names.fullmatch(plain)), "")


def links(value: Any) -> dict[str, list[str]]:
    """Links by kind: names of kinds → ids, a list in any spelling or parted by commas, semicolons, ``|`` or lines.

    Raises:
        ValueError: If it is no such object, or a name stands for no kind.

    Example:
        >>> links({"upsell_skus": "A1, A2", "related": ["B"], "goes with": None})
        {'alternative': ['A1', 'A2'], 'related': ['B']}
    """
    if is_nothing(value) or (isinstance(value, str) and is_nothing(value := literal(value.strip()))):
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("give kind → ids")
    found: dict[str, dict[str, None]] = {}
    for name, some in value.items():
        kind = link_kind(str(name))
        if not kind:
            raise ValueError(f"{name!r} is no kind of link; there are {', '.join(LINKS)}")
        if ids := item_ids(some):
            found.setdefault(kind, {}).update(dict.fromkeys(ids))
    return {kind: list(ids) for kind, ids in found.items()}


def item_ids(value: Any) -> list[str]:
    """The ids that a cell lists.

    Example:
        >>> item_ids("24-MB01, 24-MB02"), item_ids('["a", "b"]'), item_ids([7, 8])
        (['24-MB01', '24-MB02'], ['a', 'b'], ['7', '8'])
    """
    if isinstance(value, str) and value.lstrip()[:1] not in ("[", "{"):
        return words(_SIGNS.split(value))
    return words(value)
