"""What a value means, in whatever way a program wrote it: nothing, a text, an id, words, facts, paths.

Cells of tables and arguments of the Python API go through the same functions. They raise ValueError where a value has
no one reading; who calls them names the row or item.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from itertools import chain
from numbers import Real
from pathlib import PurePath
from typing import Any

from mmreason.flags import flagged

_NULLS = [
    *("n/a", "na", "n.a.", "#n/a", "nan", "null", "none", "nil", "<na>", "nat", "undefined", "(null)"),
    *("-", "--", "–", "—", "\\n"),
]
NULL_WORDS = frozenset(chain([""], *([word, word.upper(), word.title()] for word in _NULLS), ["NaN", "NaT"]))
"""What programs write for a missing value; never an id's meaning, as ``NA`` may be one."""

NO_VALUE = frozenset(
    [
        *map(str.lower, NULL_WORDS),
        *("unknown", "not specified", "unspecified", "not available", "not applicable", "not set", "no data"),
        *("(none)", "(blank)", "(empty)", "(unknown)", "(not set)", "[none]", "tbd", "tba", "?", "??", "."),
        *("#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!", "keine angabe", "k.a.", "unbekannt"),
        *(
            "non spécifié",
            "inconnu",
            "desconocido",
            "sin especificar",
            "sconosciuto",
            "onbekend",
            "无",
            "未知",
        ),
    ]
)
"""Words, in lower case, that say nothing as a value of an attribute, though one may be a title or an id."""

NO_USER = frozenset(word for word in NULL_WORDS if word.lower() != "na")
"""What programs write for a missing id of a user; ``NA`` may be one."""

LONGEST_NULL = max(map(len, NULL_WORDS))
_LONGEST_LITERAL = 200_000  # characters of a Python literal that is read
_PICTURE_KEYS = ("path", "src", "url", "href", "file", "filename", "image", "image_url", "link")
_PICTURE_ENDING = re.compile(r"(?i)\.(jpe?g|png|gif|webp|bmp|tiff?|avif|heic|jp2|ppm|ico|mp4|webm|mov|mkv)$")
_NUMPY_LIST = re.compile(r"\[\s*(?:'[^']*'|\"[^\"]*\")(?:\s+(?:'[^']*'|\"[^\"]*\"))+\s*\]")
_ARRAY = re.compile(r"array\((\[.*\])(?:,\s*dtype=\w+)?\)", re.DOTALL)
_BARE_LIST = re.compile(r"\[([^\[\]{}|]*,[^\[\]{}|]*)\]")  # [red, blue]
_BARE_NAN = re.compile(r"(?<=[\[,:])\s*nan(?=\s*[,\]}])")


def is_nothing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, an empty text or list, or one of :data:`NULL_WORDS`.

    Example:
        >>> [is_nothing(value) for value in (None, float("nan"), " N/A ", [], 0, "0")]
        [True, True, True, True, False, False]
    """
    if value is None:
        return True
    if isinstance(value, str):
        return value in NULL_WORDS or value.strip() in NULL_WORDS
    if isinstance(value, Real):
        return bool(value != value)
    if isinstance(value, list | tuple | dict | bytes):
        return not value
    return type(value).__name__ in ("NAType", "NaTType")  # pandas'


def identifier(value: Any) -> str:
    """An id as text: ``123.0`` of a column with gaps is ``123``; a text stays what it is, spaces around it aside.

    Raises:
        ValueError: If it is a list or an object.

    Example:
        >>> identifier(123.0), identifier("00123"), identifier("1e5"), identifier(float("nan"))
        ('123', '00123', '1e5', '')
    """
    if isinstance(value, str):
        return value.strip()
    if value is None or is_nothing(value):
        return ""
    return _plain(value)


def text(value: Any) -> str:
    """A text; several paragraphs of a list are joined by line breaks.

    Raises:
        ValueError: If it is an object, or bytes that are no text.

    Example:
        >>> text(["Warm.", None, "Soft."]), text("N/A"), text(5.0)
        ('Warm.\\nSoft.', '', '5')
    """
    if isinstance(value, str):
        value = value.strip()
        if len(value) <= LONGEST_NULL and value in NULL_WORDS:
            return ""
        if value[0] != "[" or value[-1] != "]":
            return value
        try:
            value = _texts(literal(value))
        except ValueError:
            return str(value)
        return "\n".join(value)
    if is_nothing(value):
        return ""
    value = _sequence(value)
    return "\n".join(_texts(value)) if isinstance(value, list) else _plain(value)


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or any(isinstance(v, list | Mapping) for v in values):
        raise ValueError("not a list of texts")
    return [_plain(value).strip() for value in values if not is_nothing(value)]


def words(value: Any) -> list[str]:
    """The values of one attribute: a list in any spelling, or several joined by ``|``.

    Of lists in a list all values count, of objects in a list their names.

    Raises:
        ValueError: If it is an object, or a list of objects without names.

    Example:
        >>> words("wool|silk") == words('["wool", "silk"]') == words(["wool", "silk", None]) == words("{wool,silk}")
        True
        >>> words("[{'id': 18, 'name': 'Drama'}]"), words('[["Home", "Mugs"]]')
        (['Drama'], ['Home', 'Mugs'])
    """
    if isinstance(value, str):
        found = _if_list(value)
        values: Iterable[Any] = _parted(value) if found is None else found
    else:
        value = _sequence(value)
        values = value if isinstance(value, list) else [value]
    plain = (_plain(each).strip() for each in _flat(values) if not is_nothing(each))
    return [word for word in plain if word.lower() not in NO_VALUE]


def _flat(values: Iterable[Any], depth: int = 0) -> Iterable[Any]:
    """The values of lists in a list; of an object its name."""
    for each in values:
        if isinstance(each, list | tuple) and depth < 3:
            yield from _flat(each, depth + 1)
        elif isinstance(each, Mapping):
            yield next((each[key] for key in ("name", "value", "label", "title") if key in each), each)
        else:
            yield each


def _is_set(plain: str) -> bool:
    """Whether a text is a set as Python or PostgreSQL writes it."""
    return plain[:1] == "{" and plain[-1:] == "}" and len(plain) > 2 and ":" not in plain


def _parted(value: str) -> list[str]:
    plain = value.strip()
    if _is_set(plain):
        return [part.strip().strip("'\"") for part in plain[1:-1].split(",")]
    bare = _BARE_LIST.fullmatch(plain)
    return bare[1].split(",") if bare else value.split("|")


def facts(value: Any) -> dict[str, list[str]]:
    """Attributes by name: an object in any spelling, pairs, or ``name=value;name=value``.

    An object in an object gives names such as ``size.width``; one of flags gives the names that are true. A flag
    alone gives its name if people choose by it (``vegan``), and is left out if not.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> facts("material=wool|silk;fit=slim") == facts({"material": ["wool", "silk"], "fit": "slim"})
        True
        >>> facts({"parking": "{'garage': False, 'street': True}", "wifi": "u'free'", "open": "True"})
        {'parking': ['street'], 'wifi': ['free']}
        >>> facts({"is_vegan": True, "is_active": True})
        {'vegan': ['vegan']}
    """
    if is_nothing(value):
        return {}
    found: dict[str, list[str]] = {}
    for name, each in _pairs(_object(value)):
        for full, values in _fact(str(name).strip(), each):
            if full and values:
                found[full] = found.get(full, []) + [
                    word for word in values if word not in found.get(full, [])
                ]
    return found


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, str):
        return [_pair(part) for part in value.split(";") if part.strip()]
    if isinstance(value, Mapping):
        return value.items()
    value = _sequence(value)
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return value  # a Parquet map
    if isinstance(value, list) and all(isinstance(pair, Mapping) for pair in value):
        return [_named_pair(pair) for pair in value]
    raise ValueError("not an object of names and values")


def _pair(part: str) -> tuple[str, str]:
    sign = "=" if "=" in part else ":"
    name, found, value = part.partition(sign)
    if not found:
        raise ValueError(f"{part!r} is not name=value")
    return name, value


def _named_pair(pair: Mapping[str, Any]) -> tuple[Any, Any]:
    """``{"name": "Color", "value": "Red"}``, as shop systems' interfaces write an attribute."""
    name = next((pair[key] for key in ("name", "key", "attribute", "label") if key in pair), None)
    value = next((pair[key] for key in ("value", "values", "option", "options") if key in pair), None)
    if name is None:
        raise ValueError("an attribute without a name")
    return name, value


def _fact(name: str, value: Any, depth: int = 0) -> Iterable[tuple[str, list[str]]]:
    if (said := flagged(name, value)) is not None:
        return [(each, [each]) for each in said]
    value = _object(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return [] if _is_flag(value) else [(name, words(value))]
    if depth > 2:
        raise ValueError("objects in objects in objects")
    if value and all(_is_flag(flag) or is_nothing(flag) for flag in value.values()):
        return [(name, [str(key) for key, flag in value.items() if str(flag).lower() == "true"])]
    parts = [_fact(f"{name}.{key}", each, depth + 1) for key, each in value.items() if not is_nothing(each)]
    return list(chain.from_iterable(parts))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false"))


def _object(value: Any) -> Any:
    """What a text in braces, or one in Python's quotes, says; anything else stays."""
    if not isinstance(value, str):
        return value
    plain = value.strip()
    if (
        (plain[:1] == "{" and not _is_set(plain))
        or (plain[:2] in ("u'", 'u"') and plain[-1] == plain[1] and len(plain) > 2)
        or (plain[:1] == "'" and plain[-1:] == "'" and len(plain) > 2)
    ):
        return literal(plain)
    if plain[:1] == "[" and "{" in plain:
        found = _if_list(plain)
        return value if found is None else found
    return value


def paths(value: Any) -> list[str | bytes | Mapping[str, Any]]:
    """Pictures (or videos) of a cell: paths and addresses, or bytes, or objects of ``bytes`` and ``path``.

    Raises:
        ValueError: If it is nothing like that.

    Example:
        >>> paths("['a.jpg', 'b.jpg']") == paths("a.jpg|b.jpg") == paths("a.jpg, b.jpg")
        True
        >>> paths([{"src": "a.jpg"}, "b.jpg"])
        ['a.jpg', 'b.jpg']
    """
    if isinstance(value, str):
        found = _if_list(value)
        found = [literal(value.strip())] if found is None and value.lstrip()[:1] == "{" else found
        value = _split_paths(value) if found is None else found
    value = _sequence(value)
    several = value if isinstance(value, list) else [value]
    return [_path(each) for each in several if not is_nothing(each)]


def _split_paths(value: str) -> list[str]:
    for sign in (r"\|", r"[,;]?\s+", r"[,;]"):
        parts = [part for part in re.split(sign, value.strip()) if part]
        if len(parts) > 1 and (sign == r"\|" or all(is_picture(part) for part in parts)):
            return [part.strip() for part in parts]
    return [value.strip()]


def is_picture(text: str) -> bool:
    """Whether a path or address ends like a picture's or video's."""
    return _PICTURE_ENDING.search(text.partition("?")[0]) is not None


def _path(value: Any) -> str | bytes | Mapping[str, Any]:
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        if value.get("bytes") is not None:
            return value
        value = next(
            (found for key in _PICTURE_KEYS if isinstance(found := value.get(key), str) and found), None
        )
    if not isinstance(value, str | bytes):
        raise ValueError("neither a path nor a picture's bytes")
    return value.strip() if isinstance(value, str) else value


def literal(value: str) -> Any:
    """What a text in brackets or braces says: JSON, else what Python or NumPy prints.

    Nothing is run: the text is parsed as data, and only up to a bounded length.

    Raises:
        ValueError: If it says nothing of the kind.

    Example:
        >>> literal('["a"]') == literal("['a']") == literal("array(['a'], dtype=object)")
        True
        >>> literal("['a' 'b']")
        ['a', 'b']
    """
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    if len(value) > _LONGEST_LITERAL:
        raise ValueError("too long to be read")
    return _python(value)


@lru_cache(maxsize=4096)
def _python_text(value: str) -> Any:
    array = _ARRAY.fullmatch(value)
    value = array[1] if array else value
    if _NUMPY_LIST.fullmatch(value):
        return [found[1:-1] for found in re.findall(r"'[^']*'|\"[^\"]*\"", value)]
    try:
        return ast.literal_eval(_BARE_NAN.sub(" None", value))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("neither JSON nor a Python list") from None


def _python(value: str) -> Any:
    found = _python_text(value)
    return list(found) if isinstance(found, list | tuple | set) else found


def _if_list(value: str) -> list[Any] | None:
    """The list that a text in brackets is; None if the text is no list."""
    plain = value.strip()
    if plain[:1] != "[" and not plain.startswith("array(["):
        return None
    try:
        found = literal(plain)
    except ValueError:
        if plain[1:2] in ("'", '"', "{", "["):  # begins like a list, and is cut or broken
            raise
        return None
    return found if isinstance(found, list) else None


def _sequence(value: Any) -> Any:
    """A list of whatever holds values one after another; anything else stays."""
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if hasattr(value, "tolist") and not isinstance(value, Real):  # an array, or a column of a data frame
        return value.tolist()
    if type(value).__name__ == "Series":
        return value.to_list()
    return value


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()  # a UnicodeDecodeError is a ValueError
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, Real):
        number = float(value)
        return str(int(number)) if number.is_integer() and not isinstance(value, int) else str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | Mapping) or not hasattr(type(value), "__str__"):
        raise ValueError(f"a {type(value).__name__} where one value is wanted")
    return str(value)
