"""Flags of items, ``vegan: 1``, that are a reason to want one; those that keep a shop running are none."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

TRUE = frozenset(
    {"1", "1.0", "true", "t", "yes", "y", "x", "on", "ja", "oui", "si", "sí", "wahr", "vrai", "✓", "是"}
)
"""What programs and people write for yes, in small letters."""

FALSE = frozenset(
    {"0", "0.0", "false", "f", "no", "n", "off", "nein", "non", "falsch", "faux", "✗", "否", ""}
)
"""… and for no."""

_GOOD = re.compile(
    r"vegan|vegetarian|veggie|plant_based|organic|bio|natural|fair_?trade|halal|kosher|whole_?grain|"
    r"hand_?made|hand_?crafted|hand_?painted|recycled|recyclable|upcycled|sustainable|sustainably_\w+|biodegradable|"
    r"compostable|refillable|reusable|reversible|eco|eco_?friendly|climate_neutral|carbon_neutral|vintage|"
    r"waterproof|water_?resistant|windproof|breathable|insulated|padded|stretch|stretchy|wrinkle_?free|quick_?dry(?:ing)?|"
    r"foldable|collapsible|stackable|portable|adjustable|detachable|removable_\w+|rechargeable|wireless|cordless|"
    r"solar(?:_powered)?|noise_cancell?ing|bluetooth|touch_?screen|backlit|dimmable|illustrated|subtitled|dubbed|"
    r"hypoallergenic|dermatologically_tested|unscented|unisex|ergonomic|non_?stick|anti_?slip|non_?slip|"
    r"\w+_free|\w+_(?:safe|friendly|proof|resistant|washable|accessible|certified|compatible)|washable|"
    r"outdoor_seating|wi_?fi|live_music|pets?_allowed|dogs?_allowed|good_for_\w+|happy_hour|pockets|hood|free_wi_?fi|"
    r"vegetarisch|biologisch|recycelt|handgemacht|nachhaltig|wasserdicht|\w+frei|végétarien|biologique|fait_main"
)
_PREFIX = re.compile(r"^(?:is|has|are|with|suitable_for|ist|hat|est)_")
_BAD = re.compile(
    r"(?:tax|duty|shipping|postage|handling|royalty|interest|fee|customs)_free|contains_.*|(?:cost|charge|commission|risk)_free|(?:age|mobile|seo|web|print|feed|search|url)_\w+"
)


@cache
def selling_point(name: str) -> str:
    """What a flag says of an item where it is set; empty if that is nothing that people choose by.

    Example:
        >>> selling_point("is_vegan"), selling_point("glutenFree"), selling_point("Machine washable")
        ('vegan', 'gluten free', 'machine washable')
        >>> selling_point("is_active"), selling_point("taxable"), selling_point("tax_free")
        ('', '', '')
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = re.sub(r"[\W_]+", "_", apart.lower()).strip("_")
    bare = _PREFIX.sub("", words)
    return bare.replace("_", " ") if _GOOD.fullmatch(bare) and not _BAD.fullmatch(bare) else ""


def flagged(name: str, value: Any) -> list[str] | None:
    """The words of a flag that is set, none of one that is not; None if it is no flag that people choose by.

    Example:
        >>> flagged("is_vegan", 1), flagged("is_vegan", "no"), flagged("wood", "oak"), flagged("active", True)
        (['vegan'], [], None, None)
    """
    point = selling_point(name)
    if not point or not (is_set(value) or str(value).strip().lower() in FALSE):
        return None
    return [point] if is_set(value) else []


def is_set(value: Any) -> bool:
    """Whether a cell says yes.

    Example:
        >>> is_set(True), is_set("Yes"), is_set(1.0), is_set("0"), is_set(None)
        (True, True, True, False, False)
    """
    return str(value).strip().lower() in TRUE
