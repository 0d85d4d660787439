"""What a text must and must not hold, seen in the text itself and not in its tokens."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from mmreason.decoding.requests import DecodeRequest
from mmreason.language import CJK

_LETTER = rf"[^\W{CJK}\u0e00-\u0e7f]"  # or digit, of a script with spaces between words (Thai has none)


def whole_words(words: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for any of the words, whatever their case, not as part of a longer word.

    Example:
        >>> bool(whole_words(("ass",)).search("class")), bool(whole_words(("ass", "b c")).search("An ASS."))
        (False, True)
        >>> bool(whole_words(("最佳",)).search("这是最佳选择"))
        True
    """
    parts = []
    for word in words:
        before = rf"(?<!{_LETTER})" if re.match(_LETTER, word) else ""
        after = rf"(?!{_LETTER})" if re.match(_LETTER, word[-1]) else ""
        parts.append(before + re.escape(word) + after)
    return re.compile("|".join(parts), re.IGNORECASE)


class Watch:
    """Watches a request's texts for stop strings, words that must come and words that must not.

    Args:
        request: What was asked.
        tokenizer: The LM's.
    """

    def __init__(self, request: DecodeRequest, tokenizer: Any) -> None:
        self.stop, self.include, self.banned = request.stop, request.include, request.banned
        self.tokenizer = tokenizer

    @property
    def idle(self) -> bool:
        """Whether there is nothing to watch for."""
        return not (self.stop or self.include or self.banned)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return whole_words(self.banned)

    @cached_property
    def spelled(self) -> dict[str, list[int]]:
        """Token ids of each word to include, with a space before it where its script has spaces."""
        return {
            word: self.tokenizer.encode(
                (" " if re.match(_LETTER, word) else "") + word, add_special_tokens=False
            )
            for word in self.include
        }

    def text(self, ids: list[int]) -> str:
        """The text of token ids, without special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def missing(self, text: str) -> list[str]:
        """The words to include that a text does not hold yet."""
        folded = text.casefold()
        return [word for word in self.include if word.casefold() not in folded]

    def stopped(self, text: str) -> int | None:
        """Where the first stop string begins."""
        places = [place for place in map(text.find, self.stop) if place >= 0]
        return min(places, default=None)

    def breach(self, text: str, ended: bool) -> int | None:
        """Where the first banned word begins; one at the very end counts only once the text has ended."""
        if not self.banned:
            return None
        for found in self._pattern.finditer(text):
            if ended or found.end() < len(text) or not re.match(_LETTER, text[-1]):
                return found.start()
        return None

    def why_not(self, max_new_tokens: int) -> str:
        """Why the words to include cannot be; empty if they can."""
        tokens = sum(map(len, self.spelled.values()))
        if tokens > max_new_tokens:
            return f"include: its words take {tokens} tokens, but max_new_tokens is {max_new_tokens}"
        for word, ids in self.spelled.items():
            if self.missing(self.text(ids)) and word in self.missing(self.text(ids)):
                return f"include: the tokenizer cannot write {word!r}"
        return ""
