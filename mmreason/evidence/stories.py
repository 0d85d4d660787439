"""What a text about a film, a book or a report says of it: who made it and who plays in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_KIND = (
    r"(?:film|movie|novel|book|memoir|biopic|documentary|mockumentary|drama|comedy|thriller|romance|western|musical|"
    r"sequel|prequel|anime|sitcom|miniseries|series|episode|story|tale|plot|anthology|adaptation|podcast|play|opera)"
)
_TELLS = re.compile(
    rf"(?i)\b(?:is|was|are) (?:an?|the)\b[^.\n]{{0,80}}\b{_KIND}s?\b|\b(?:this|the) {_KIND} (?:is|was|tells|follows|"
    rf"centers|centres|revolves|stars|explores|chronicles|depicts|features)\b|"
    rf"\b{_KIND} (?:about|directed|written|starring)\b"
)
_INITIALS, _CAPITAL = r"[A-Z]\.(?: ?[A-Z]\.)*", r"[A-Z][\w'’-]+"
_PARTICLE = "(?:de|van|von|der|den|la|le|du|di|da|del|bin|al) "
_NAME = rf"(?:{_CAPITAL}|{_INITIALS})(?:[ -](?:{_PARTICLE}){{0,2}}(?:[A-Z]\. ?)*{_CAPITAL}){{1,3}}"
_NAMES = rf"({_NAME}(?:(?:, and |, & |, | and | & ){_NAME})*)"
_MADE_BY = {
    "director": re.compile(rf"\b(?:[Dd]irected|[Ww]ritten and directed|co-directed) by {_NAMES}"),
    "author": re.compile(
        rf"\b(?:novel|book|memoir|story|play|autobiography)(?: of the same name)?(?: written)? by {_NAMES}"
    ),
    "actor": re.compile(rf"\b(?:starring|stars|[Pp]layed by|[Pp]ortrayed by) {_NAMES}"),
}
_ONE = re.compile(_NAME)
_LOOKED_AT = 400  # characters


def tells_story(text: str) -> bool:
    """Whether a text tells what a film, book or the like is about, so that most of it speaks of people in it.

    Example:
        >>> tells_story("A 1994 comedy film about two brothers."), tells_story("A jacket with a hood.")
        (True, False)
    """
    return _TELLS.search(text[:_LOOKED_AT]) is not None


def makers(text: str) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """(``director``, ``author`` or ``actor``; name; span) of everybody whom such a text names so.

    Example:
        >>> [found[:2] for found in makers("A film directed by Ann Li, starring Bo Ek and Cy Day.")]
        [('director', 'Ann Li'), ('actor', 'Bo Ek'), ('actor', 'Cy Day')]
    """
    for role, pattern in _MADE_BY.items():
        for match in pattern.finditer(text):
            for one in _ONE.finditer(match[1]):
                start = match.start(1) + one.start()
                yield role, one.group(), (start, start + len(one.group()))
