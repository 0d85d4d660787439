"""English for the opinion rules: tokens and stems, valence (VADER), and nouns (TextBlob's tagger).

Both libraries carry their word lists in their wheels, so nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from mmreason.language import PLURAL_ONLY
from mmreason.reviews.opinions import Token
from mmreason.schema import DataError

_WORD = re.compile(
    r"(?i:[^\W_]+?(?=n['’]t\b)|n['’]t\b|[^\W_]+(?=['’](?:s|re|ve|ll|m|d)\b)|['’](?:s|re|ve|ll|m|d)\b)"
    r"|[^\W_]+(?:['’][^\W_]+)*|[^\w\s]"
)
# fmt: off
_SUBJECTS = frozenset([
    "i", "it", "they", "you", "we", "he", "she", "this", "these", "that", "which", "there", "my",
])
# "good for me", "perfect for the price", "great for years": no use of the item
_NO_USE = frozenset([
    "price", "money", "cost", "me", "him", "her", "us", "son", "daughter", "husband", "wife", "kid", "kids", "mom",
    "dad", "years", "year", "months", "now", "life", "what", "you", "i", "it", "less",
])
# words before a "like" that is a verb
_LIKERS = frozenset([
    "i", "we", "they", "he", "she", "you", "really", "also", "do", "n't", "not", "still", "especially",
])
_ARTICLES = frozenset(["the", "a", "an", "my", "your", "his", "these", "this"])
_NO_ASPECT = frozenset([
    "time", "times", "day", "days", "way", "lot", "lots", "year", "years", "month", "months", "week", "weeks", "people",
    "person", "husband", "wife", "son", "daughter", "kid", "kids", "mom", "dad", "guy", "guys", "girl", "girls", "man",
    "woman", "body", "review", "reviews", "reviewer", "reason", "problem", "problems", "everything", "something",
    "anything", "nothing", "someone", "bit", "couple", "world", "place", "part", "home", "house", "job", "life", "love",
    "great", "hours", "hour", "minutes", "morning", "night", "summer", "winter", "fan", "friend", "friends", "idea",
    "issue", "issues", "matter", "kind", "sort", "type", "fact", "case", "point", "stuff", "while", "rest", "bunch",
    "need", "needs", "use", "end", "sure", "favorite", "plus", "n", "s", "t", "everyone", "anyone", "others", "other",
    "boyfriend", "girlfriend", "family", "hand", "hands", "foot", "feet", "leg", "legs", "arm", "arms", "head", "back",
    "shoulder", "shoulders", "everyday", "today", "pair", "pairs", "daughters", "room", "guess", "right", "star",
    "stars",
])
# fmt: on


class English:
    """See :class:`mmreason.reviews.opinions.Language`.

    Raises:
        DataError: If the extra ``mine`` is not installed; the message names it.
    """

    # fmt: off
    negators = frozenset([
        "not", "n't", "no", "never", "none", "nothing", "neither", "nor", "without", "hardly", "barely", "cannot",
        "less", "lacks", "dont", "doesnt", "didnt", "isnt", "wasnt", "arent", "wont", "cant", "havent", "hasnt",
    ])
    contrasts = frozenset(["but", "however", "except", "unfortunately"])
    concessions = frozenset(["although", "though", "despite"])
    suppositions = frozenset([
        "if", "wish", "wishes", "wished", "supposed", "claim", "claims", "claiming", "should", "would", "could", "says",
    ])
    # fmt: on
    pointers = frozenset(["this", "these"])
    joiners = frozenset(["and", ","])
    window, reach, carry = 6, 6, 0

    def __init__(self) -> None:
        try:
            from nltk.stem.snowball import EnglishStemmer
            from textblob.en import tag
            from textblob.en.inflect import singularize
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ModuleNotFoundError as error:
            raise DataError(f"{error.name} is not installed; pip install 'mmreason[mine]'") from None
        lexicon = SentimentIntensityAnalyzer().lexicon
        self._tag, self._singular = tag, cache(singularize)
        self._stem = cache(EnglishStemmer().stem)
        self._valence = {
            word: value for word, value in lexicon.items() if abs(value) >= 1.3 and word.isalpha()
        }

    def tokens(self, text: str) -> list[Token]:
        """Words and marks, contractions cut as in the Penn Treebank; the key is the Snowball stem."""
        return [Token(m.group(), self._key(m.group()), m.start(), m.end()) for m in _WORD.finditer(text)]

    def _key(self, word: str) -> str:
        word = word.lower().replace("’", "'")
        if word in PLURAL_ONLY or not word.isalpha():
            return word
        return re.sub(r"(.)\1{2,}", r"\1\1", self._stem(word))

    def breaks(self, tokens: list[Token], i: int) -> bool:
        """At a dash, bracket or semicolon, and where ", it" or "and they" starts a new statement."""
        if not 0 < i < len(tokens):
            return False
        word, before = tokens[i].text.lower(), tokens[i - 1].text.lower()
        if before in (",", "and", "so", "because", "since") and word in _SUBJECTS:
            return True
        return word in "–—();:" or (word == "because" and i > 1)

    def valence(self, tokens: list[Token], i: int) -> int:
        """VADER's, by sign; weak words count for nothing, and "like" only where it is a verb."""
        word = tokens[i].text.lower()
        if word in ("like", "likes", "liked"):
            return int(i == 0 or tokens[i - 1].text.lower() in _LIKERS)
        value = 0.0 if word == "pretty" else self._valence.get(word, 0.0)
        return (value > 0) - (value < 0)

    def stands(self, tokens: list[Token], start: int, stop: int) -> bool:
        """Not "pretty" before an adjective, nor "perfect for" before a price or a person."""
        word = tokens[start].text.lower()
        if word == "pretty" and stop == start + 1:
            after = tokens[stop].text.lower() if stop < len(tokens) else "."
            return not after.isalpha() or after in ("and", "but", "too", "color", "colors", "print")
        return tokens[stop - 1].text.lower() != "for" or self._use(tokens, stop)

    def purpose(self, tokens: list[Token], i: int) -> bool:
        """ "Great top for running", "awesome on my rides": a preposition among the next words, and a use after it."""
        words = [token.text.lower() for token in tokens[i : i + 5]]
        if words[:1] == ["during"] or words[:2] in (["on", "my"], ["on", "our"]):
            return self._use(tokens, i + 1)
        return "for" in words[1:4] and self._use(tokens, i + words.index("for") + 1)

    def _use(self, tokens: list[Token], i: int) -> bool:
        """Whether what follows "for" is a use: not a person, a price or a time."""
        rest = [token.text.lower() for token in tokens[i : i + 3] if token.text.lower() not in _ARTICLES]
        return bool(rest) and rest[0] not in _NO_USE and rest[0].isalnum()

    def excess(self, tokens: list[Token], i: int) -> bool:
        """After "too" or "a little", but not "too, so"."""
        words = [token.text.lower() for token in tokens[max(i - 2, 0) : i]]
        return words[-1:] == ["too"] or words in (
            ["a", "little"],
            ["a", "bit"],
            ["way", "too"],
            ["kind", "of"],
        )

    def nouns(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Nouns and pairs of nouns, in lower case and singular, with their spans, by TextBlob's pattern tagger."""
        tokens = self.tokens(text)
        tagged = self._tag(" ".join(token.text for token in tokens), tokenize=False)
        if len(tagged) != len(tokens):  # the tagger cut a word of its own
            return
        before: Token | None = None
        for token, (word, part) in zip(tokens, tagged, strict=True):
            word = word.lower()
            noun = part in ("NN", "NNS") and len(word) > 2 and word.isalpha() and word not in _NO_ASPECT
            if noun:
                single = word if part == "NN" or word in PLURAL_ONLY else self._singular(word)
                yield single, token.start, token.end
                if before is not None:
                    yield f"{before.text.lower()} {single}", before.start, token.end
            before = token if noun else None
