"""English word forms that sentences need: articles, plurals, and small letters in mid-sentence."""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache

from mmreason.language import PLURAL_ONLY, singulars

# Begins with a vowel's letter but a consonant's sound, and the other way round.
_CONSONANT_SOUND = re.compile(r"(?i)(?:uni(?!n|m)|us[aeiou]|ut[ei]|ub|eu|ewe|one\b|once\b|u\b|u-)")
_VOWEL_SOUND = re.compile(r"(?i)(?:hour|hono[u]?r|honest|heir|8|11\b|18\b)")
_SPELLED = re.compile(r"[A-Z](?![a-z])[A-Z0-9]*\b")
_VOWEL_NAMES = frozenset("AEFHILMNORSX8")  # letters whose own names begin with a vowel's sound

# Sold in pairs or plural only: "these boots are", and their singular names nothing that is sold.
# fmt: off
PAIRS = PLURAL_ONLY | frozenset([
    "binoculars", "boots", "boxers", "briefs", "chinos", "cufflinks", "culottes", "dungarees", "earbuds", "earphones",
    "earrings", "flip-flops", "gloves", "headphones", "heels", "jeans", "joggers", "leggings", "loafers", "mittens",
    "overalls", "pajamas", "panties", "pants", "pliers", "pumps", "pyjamas", "sandals", "scissors", "shoes", "slippers",
    "sneakers", "socks", "stockings", "sunglasses", "sweatpants", "thongs", "trainers", "trousers", "trunks",
    "tweezers", "underpants",
])
# fmt: on

# fmt: off
_DETERMINERS = frozenset([
    "a", "an", "the", "two", "three", "four", "five", "six", "eight", "ten", "no", "its", "your", "this", "all", "both",
    "plenty", "every", "each", "some",
])
_SINGLE = frozenset([
    "backing", "coating", "covering", "ending", "fitting", "handling", "housing", "lining", "opening", "painting",
    "railing", "ring", "setting", "spring", "string",
])
# fmt: on
_PREPOSITION = re.compile(r",? (?:for|of|with|in|on|at|that|which|from|to) ")
_BARE_TAIL = re.compile(r" (?:on|in|at|with) (\S+)")
_NAMES = frozenset(
    ["bluetooth", "chromebook", "facebook", "macbook", "photoshop", "playstation", "starbucks"]
)
_DERIVED = re.compile(r"..(?:tion|sion|ment|ness|able|ible|i[sz]ed|less|ful|ity|ically)$")
_NO_NOUN = re.compile(r"(?i)(?:weight|proof|repellent|resistant|friendly|free|ready)$")
_ABSTRACT = re.compile(r"(?:th|ness|ity|tion|sion|ment|ance|ence|ism|ing|ure|acy|ship)$")
_CLAUSE = re.compile(
    r"(?i)^(?:getting|being|having|doing|going|making) |\b(?:before|after|while|when|because|if|so|but|starts?|until|"
    r"unless|although|included|than)\b"
)


def article(phrase: str) -> str:
    """``a`` or ``an``, by the sound that a phrase begins with.

    Example:
        >>> [article(word) for word in ("mug", "umbrella", "hour", "unisex tee", "LED lamp", "SUV", "1990s film")]
        ['a', 'an', 'an', 'a', 'an', 'an', 'a']
    """
    if _SPELLED.match(phrase) and not phrase.isdigit():
        return "an" if phrase[0] in _VOWEL_NAMES else "a"
    if _VOWEL_SOUND.match(phrase):
        return "an"
    return "an" if phrase[:1].lower() in set("aeiou") and not _CONSONANT_SOUND.match(phrase) else "a"


@lru_cache(maxsize=4096)
def plural(phrase: str) -> str:
    """The plural of a noun phrase in the singular, by its last word.

    Example:
        >>> plural("storage shelf"), plural("story"), plural("hoodie"), plural("pants")
        ('storage shelves', 'stories', 'hoodies', 'pants')
    """
    from lemminflect import getInflection

    head, space, word = phrase.rpartition(" ")
    if is_plural(word) or word.lower() in PAIRS:
        return phrase
    forms = getInflection(word, "NNS")
    return f"{head}{space}{forms[0] if forms else word + 's'}"


@lru_cache(maxsize=4096)
def singular(phrase: str) -> str:
    """The singular of a noun phrase, by its last word; as it is, if that is sold in pairs or no plural.

    Example:
        >>> singular("candles"), singular("dresses"), singular("hiking boots"), singular("knives"), singular("bus")
        ('candle', 'dress', 'hiking boots', 'knife', 'bus')
    """
    from lemminflect import getAllLemmas

    head, space, word = phrase.rpartition(" ")
    lower = word.lower()
    if lower in PAIRS:
        return phrase
    known = getAllLemmas(lower)
    one = known.get("NOUN", (lower,))[0] if known else next(iter(singulars(lower)), lower)
    return phrase if one == lower else f"{head}{space}{one}"


def article_of(phrase: str, uncountable: Container[str], head: str = "") -> str:
    """The article that a noun phrase in small letters needs; empty for a plural, a mass, or where there is one.

    Args:
        phrase: "hidden pocket for keys".
        uncountable: Nouns that take no article.
        head: The noun that follows the phrase, if it does not end with one.

    Example:
        >>> [article_of(phrase, {"fabric"}) for phrase in ("pocket for keys", "soft fabric", "two pockets", "rouching")]
        ['a', '', '', '']
        >>> article_of("crew", (), "neckline"), article_of("hood and deep pockets", ()), article_of("rib cuffs", ())
        ('a', 'a', '')
    """
    words = (head or _PREPOSITION.split(phrase)[0]).split(" and ")[0].split()
    first, last = phrase.split()[0].lower(), words[-1].lower()
    if (
        first in _DETERMINERS
        or first[0].isdigit()
        or last in uncountable
        or is_plural(last)
        or _is_mass(last)
    ):
        return ""
    return article(phrase)


def whole_phrase(text: str) -> str:
    """What a text says in passing, as a phrase that can stand in another sentence; empty if it is none.

    A tail without its article goes ("pocket on inner waistband"), and so does a capital that only began the sentence.

    Example:
        >>> [whole_phrase(each) for each in ("Media pocket on inner waistband", "Hood with two cords", "so cold")]
        ['media pocket', 'hood with two cords', '']
    """
    if _CLAUSE.search(text):
        return ""
    first, space, rest = text.partition(" ")
    if rest == rest.lower() and re.fullmatch(r"[A-Z][a-z'’-]+", first):
        text = f"{first.lower()}{space}{rest}"
    tail = _BARE_TAIL.search(text)
    last = text.split()[-1].lower()
    if tail and tail[1].lower() not in _DETERMINERS and not is_plural(last) and not _ABSTRACT.search(last):
        text = text[: tail.start()] if " " in text[: tail.start()] else ""
    return text


def is_no_noun(phrase: str) -> bool:
    """Whether a phrase ends with a word that says how a thing is, though the dictionary has it as a noun, too.

    Example:
        >>> is_no_noun("water repellent"), is_no_noun("ultra lightweight"), is_no_noun("brushed interior")
        (True, True, False)
    """
    return _NO_NOUN.search(phrase) is not None


def _is_mass(word: str) -> bool:
    """Whether a noun names no single thing by its making: *piping*, *ruching*, *softness*, not *lining*."""
    from lemminflect import getAllLemmas

    known = getAllLemmas(word)
    made_of_verb = word.endswith("ing") and word not in _SINGLE and ("VERB" in known or not known)
    return made_of_verb or word.endswith(("ness", "ism"))


def is_plural(word: str) -> bool:
    """Whether a noun stands in the plural, or is one that has no singular.

    Example:
        >>> is_plural("pockets"), is_plural("canvas"), is_plural("jeans")
        (True, False, True)
    """
    return word.lower() in PAIRS or singular(word).lower() != word.lower()


@lru_cache(maxsize=65_536)
def in_sentence(value: str) -> str:
    """A value of a catalogue as it is written within a sentence: small letters, except for names.

    A word in the dictionary is no name; one with a capital inside or a trademark sign keeps its spelling.

    Example:
        >>> [in_sentence(value) for value in ("Backlit Keys", "Italian Leather", "LumaTech™", "V-Neck")]
        ['backlit keys', 'Italian leather', 'LumaTech™', 'V-neck']
    """
    return " ".join(map(_word_in_sentence, value.split()))


def _word_in_sentence(word: str) -> str:
    parts = re.findall(r"[^\W\d_]+", word)
    common = all(part[1:] == part[1:].lower() and _is_common(part.lower()) for part in parts if len(part) > 1)
    if not parts or not common or len(word) == 1:
        return word
    return word.lower() if len(parts[0]) > 1 else word[0] + word[1:].lower()  # V-neck, T-shirt


@lru_cache(maxsize=65_536)
def _is_common(word: str) -> bool:
    from lemminflect import getAllLemmas

    if word in _NAMES:
        return False
    if word in PAIRS or getAllLemmas(word) or getAllLemmas(singular(word)) or _DERIVED.search(word):
        return True
    splits = ((word[:place], word[place:]) for place in range(3, len(word) - 2))
    return any(getAllLemmas(first) and getAllLemmas(second) for first, second in splits)  # backlit, pinstripe


@lru_cache(maxsize=65_536)
def is_adjective(phrase: str) -> bool:
    """Whether a phrase says how a thing is: its last word is an adjective, or a participle such as *padded*.

    Example:
        >>> [is_adjective(each) for each in ("Lightweight", "TSA approved", "laptop sleeve", "water-resistant")]
        [True, True, False, True]
    """
    from lemminflect import getAllLemmas

    word = re.split(r"[\s-]", phrase.lower())[-1]
    found = getAllLemmas(word)
    return "ADJ" in found or ("VERB" in found and word.endswith(("ed", "ing")) and "NOUN" not in found)


def is_noun(word: str) -> bool:
    """Whether a word in small letters can be a noun: one of the dictionary, or a word that is not in it.

    Example:
        >>> is_noun("mug"), is_noun("hoodies"), is_noun("waterproofed"), is_noun("new")
        (True, True, False, False)
    """
    from lemminflect import getAllLemmas

    found = getAllLemmas(word)
    return word in PAIRS or "NOUN" in found or not found


def verb_of_many(clause: str) -> str:
    """A clause without subject, its first verb in the third person, as several would have it.

    Example:
        >>> verb_of_many("keeps you dry"), verb_of_many("is light")
        ('keep you dry', 'are light')
    """
    verb, space, rest = clause.partition(" ")
    return f"{_plural_verb(verb.lower())}{space}{rest}"


@lru_cache(maxsize=4096)
def _plural_verb(verb: str) -> str:
    from lemminflect import getLemma

    return {"is": "are", "has": "have", "does": "do"}.get(verb) or getLemma(verb, "VERB")[0]
