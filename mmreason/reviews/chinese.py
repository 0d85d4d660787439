"""Chinese for the opinion rules: words and parts of speech by jieba, whose dictionary is in its wheel."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_dir

from mmreason.language import is_chinese
from mmreason.reviews.aspects import WORD_KINDS, Lexicon
from mmreason.reviews.opinions import Token
from mmreason.schema import DataError

_PARTICLES = frozenset("的了啊哦呀哈呢吧嘛哒嗒噢喔啦哇")
_LAST_ONLY = frozenset(["可以", "行", "一般"])  # praise or blame only at a clause's end: "味道还可以"
# fmt: off
_NO_ASPECT = frozenset([
    "感觉", "总体", "整体", "总的来说", "大家", "个人", "网友", "关键", "朋友", "时候", "时间", "东西", "地方", "问题",
    "情况", "结果", "原因", "方面", "程度", "样子", "意思", "心情", "印象", "评价", "人家", "自己", "家人", "孩子",
    "老公", "老婆", "妈妈", "同事", "同学", "亲们", "顾客", "客人", "全部", "部分", "好评", "差评", "体验", "个人感觉",
    "事情", "机会", "办法", "世界", "生活",
])
# fmt: on
_BREAKS = frozenset("，,；;：:。！!？?（）()~～…#\n")


class Chinese:
    """See :class:`mmreason.reviews.opinions.Language`.

    Args:
        lexicon: Its words are kept whole by the word cutter.

    Raises:
        DataError: If the extra ``mine`` is not installed; the message names it.
    """

    # fmt: off
    negators = frozenset([
        "不", "没", "没有", "无", "别", "不是", "不够", "不太", "不算", "并不", "毫无", "不怎么", "没什么", "并非",
        "从不", "不会", "非",
    ])
    # fmt: on
    contrasts = frozenset(["但", "但是", "不过", "可是", "然而", "只是", "就是", "可惜"])
    concessions = frozenset(["虽然", "虽说", "尽管", "虽"])
    suppositions = frozenset(["如果", "要是", "假如", "希望", "建议", "应该"])
    pointers = frozenset(["这个", "这款", "这件", "这家", "这条", "这双", "这", "该"])
    joiners: frozenset[str] = frozenset()
    window, reach, carry = 8, 2, 2

    def __init__(self, lexicon: Lexicon) -> None:
        try:
            import jieba
            from jieba.posseg import POSTokenizer
        except ModuleNotFoundError as error:
            raise DataError(f"{error.name} is not installed; pip install 'mmreason[mine]'") from None
        jieba.setLogLevel(logging.WARNING)
        self._cutter = jieba.Tokenizer()
        # jieba caches its dictionary as marshal in a folder that others can write to; ours is the user's own
        cache = Path(user_cache_dir("mmreason"), "jieba")
        cache.mkdir(parents=True, exist_ok=True)
        self._cutter.tmp_dir = str(cache)
        words = [w for a in lexicon.aspects.values() for kind in WORD_KINDS for w in getattr(a, kind)]
        words += [*lexicon.good, *lexicon.bad, *lexicon.ignore]
        words += [*self.negators, *self.contrasts, *self.concessions, *self.suppositions]
        for word in words:
            if is_chinese(word):
                self._cutter.add_word(word)
        self._tagger = POSTokenizer(self._cutter)

    def tokens(self, text: str) -> list[Token]:
        """Dictionary words; what the dictionary does not hold stays single characters."""
        tokens, place = [], 0
        for word in self._cutter.cut(text, HMM=False):
            if word.strip():
                tokens.append(Token(word, word.lower(), place, place + len(word)))
            place += len(word)
        return tokens

    def breaks(self, tokens: list[Token], i: int) -> bool:
        """At every mark but the one that joins a list (、)."""
        return 0 < i < len(tokens) and tokens[i].text in _BREAKS

    def valence(self, tokens: list[Token], i: int) -> int:
        """Nothing: all words of opinion are in the lexicon."""
        return 0

    def stands(self, tokens: list[Token], start: int, stop: int) -> bool:
        """Not 好 before an adjective ("好大"), nor 可以 before a verb ("可以过来")."""
        word = tokens[start].text
        after = tokens[stop].text if stop < len(tokens) else ""
        ends = not after or after in _BREAKS or after in _PARTICLES
        return ends or not (word == "好" or word in _LAST_ONLY)

    def purpose(self, tokens: list[Token], i: int) -> bool:
        """No: 适合 and its like are in the lexicon."""
        return False

    def excess(self, tokens: list[Token], i: int) -> bool:
        """After 太 or 过于, unless 不 is before it ("不太") or 了 makes it praise ("太好吃了")."""
        if not i or tokens[i - 1].text not in ("太", "过于", "有点", "有些", "偏"):
            return False
        return not (tokens[i - 1].text == "太" and any(t.text in ("了", "啦") for t in tokens[i + 1 : i + 3]))

    def nouns(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Nouns of two characters or more that may name an aspect, with their spans."""
        place = 0
        for pair in self._tagger.cut(text, HMM=False):
            noun = pair.flag in ("n", "vn", "nz") and len(pair.word) > 1 and pair.word not in _NO_ASPECT
            if noun and is_chinese(pair.word):
                yield pair.word, place, place + len(pair.word)
            place += len(pair.word)
