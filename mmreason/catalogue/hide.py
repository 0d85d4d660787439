"""Taking an attribute out of every text, so that only the picture can tell it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mmreason.language import UNSPACED
from mmreason.schema import Attributes, DataError, Item

COLOR_WORDS = (
    *(
        "black",
        "ebony",
        "jet-black",
        "white",
        "ivory",
        "off-white",
        "gray",
        "grey",
        "charcoal",
        "slate",
        "silver",
    ),
    *("red", "crimson", "scarlet", "maroon", "burgundy", "ruby", "orange", "tangerine", "amber", "rust"),
    *("yellow", "gold", "golden", "mustard", "green", "olive", "emerald", "lime", "khaki", "mint", "teal"),
    *("blue", "navy", "azure", "cobalt", "indigo", "turquoise", "cyan", "aqua", "royal-blue"),
    *(
        "purple",
        "violet",
        "lavender",
        "lilac",
        "plum",
        "magenta",
        "pink",
        "fuchsia",
        "coral",
        "salmon",
        "rose",
    ),
    *("brown", "tan", "beige", "camel", "bronze"),
)
PATTERN_WORDS = (
    "stripe",
    "stripy",
    "pinstripe",
    "pinstriped",
    "polka-dot",
    "dots",
    "checkered",
    "plaid",
    "gingham",
)
SYNONYMS = {"color": COLOR_WORDS, "colour": COLOR_WORDS, "pattern": PATTERN_WORDS}

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*[\n\r•]+\s*|(?<=[。！？])")
_GAP = "\ue000"  # private use: stands where a word was cut
_TIDY = (
    (re.compile(rf"{_GAP}(?:\s*[-–—/,&+|]?\s*{_GAP})+"), _GAP),  # values that were joined to each other
    (re.compile(rf"[-–/]{_GAP}|{_GAP}[-–/]|{_GAP}"), " "),
    (re.compile(r"[(\[{]\s*[)\]}]"), " "),
    (re.compile(r"\s*([,&+|])(?:\s*[-–—/,&+|])+"), r"\1"),
    (re.compile(r"\s+"), " "),
    (re.compile(r"^[\s\-–—/,&+|:;]+|[\s\-–—/,&+|:;]+$"), ""),
)


def vocabulary(name: str, values: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds any value of an attribute, or a usual synonym of a colour, as a whole word.

    Spaces and hyphens inside a value are interchangeable; plurals and ``-ish`` forms count. In scripts
    written without spaces a value is found anywhere.
    """
    words = {
        tuple(re.findall(r"[^\s\-]+", value)) for value in [*values, *SYNONYMS.get(name.lower(), ())]
    } - {()}
    longest_first = sorted(words, key=lambda parts: (-len(" ".join(parts)), parts))
    return re.compile("|".join(_as_word(parts) for parts in longest_first) or r"(?!)", re.IGNORECASE)


def _as_word(parts: tuple[str, ...]) -> str:
    body = r"[\s\-]+".join(map(re.escape, parts))
    before = "" if UNSPACED.match(parts[0][0]) else r"(?<![^\W_])"
    after = "" if UNSPACED.match(parts[-1][-1]) else r"(?:s|es|ish)?(?![^\W_])"
    return before + body + after


def cut_words(text: str, words: re.Pattern[str]) -> str:
    """Take the words out of a title and tidy the spaces, hyphens and brackets they leave.

    Example:
        >>> cut_words("Stark Blue-Gray Hoodie (Red)", vocabulary("color", []))
        'Stark Hoodie'
    """
    while words.search(text):  # a cut may bring the two halves of another value together
        text = words.sub(_GAP, text)
        for pattern, replacement in _TIDY:
            text = pattern.sub(replacement, text)
    return text


def drop_sentences(text: str, words: re.Pattern[str]) -> str:
    """Take out every sentence, line or bullet that holds one of the words.

    Example:
        >>> drop_sentences("Warm hood. Two-tone gray heather. Machine wash.", vocabulary("color", []))
        'Warm hood. Machine wash.'
    """
    if not words.search(text):
        return text
    kept = " ".join(part for part in _SENTENCE.split(text) if part.strip() and not words.search(part))
    return cut_words(kept, words)


def hidden_words(facts: Iterable[Attributes], names: Sequence[str]) -> re.Pattern[str]:
    """A pattern of all values that some attributes have in a catalogue.

    Args:
        facts: Each item's attributes.
        names: The attributes to hide.

    Raises:
        DataError: If no item has such an attribute.
    """
    values: dict[str, set[str]] = {name: set() for name in names}
    known: set[str] = set()
    for attributes in facts:
        known.update(attributes)
        for name in names:
            values[name].update(attributes.get(name, ()))
    for name in names:
        if not values[name]:
            there = ", ".join(sorted(known))
            raise DataError(f"catalogue.hidden: no item has the attribute {name!r}; there are {there}")
    patterns = [f"(?:{vocabulary(name, values[name]).pattern})" for name in names]
    return re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)


def hide_from(item: Item, names: Iterable[str], words: re.Pattern[str]) -> None:
    """Move one item's attributes to ``item.hidden`` and take the words out of its texts and other attributes."""
    for name in names:
        if name in item.attributes:
            item.hidden[name] = item.attributes.pop(name)
    item.title = cut_words(item.title, words)
    item.text = drop_sentences(item.text, words)
    visible = {n: [v for v in values if not words.search(v)] for n, values in item.attributes.items()}
    item.attributes = {n: values for n, values in visible.items() if values and not words.search(n)}
