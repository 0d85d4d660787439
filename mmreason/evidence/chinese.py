"""Phrases of a Chinese text that say something good of its item: 环境优雅, 面料柔软亲肤, 适合朋友聚会.

By rules over characters, without a word cutter: a clause between two marks counts if it is, as a whole, a short subject
with words of quality behind it, such words alone, or a verb such as 采用 or 适合 with its object. Clauses about the
writer, a visit, a price, other places, or with a *not* in them are left, as are superlatives, which advertising may not
use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from mmreason.evidence.phrases import Phrase
from mmreason.language import HAN
from mmreason.packaged import packaged_yaml

_WORDS = packaged_yaml("mmreason.evidence", "chinese.yaml")


def _any(words: Iterable[str]) -> str:
    """A pattern for any of the words, the longest first."""
    return "(?:" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + ")"


_BREAK = re.compile(r"(?:\\n|[，。！？；：、~～…,!?;:（）()【】「」《》“”‘’\"'#*·|/—\s\[\]{}<>])+")
_LEAD = re.compile(
    "^(?:而且|并且|另外|此外|首先|其次|总之|是因为|总的来说|总体来说|总体上?|整体上?|大体上?|因为|所以|因此|真的|真心|确实|关键是?|主要是?|尤其是?|特别是|其实|"
    "他们家的?|她们家的?|他家的?|这家店?的?|这里的?|这边的?|这儿的?|那里的?|店里的?|店内的?|里面的?|本店的?|该店的?|家的|还有|再加上|加上|"
    "这款|这件|这双|本品|本款|产品|该|吃起来|喝起来|闻起来|看起来|看上去|摸起来|穿起来|用起来|入口)+"
)
_DEGREE = (
    "(?:都|也|还|又|倒|却|均)?是?(?:真的|真心|确实|还是)?"
    "(?:很是|很|非常之?|特别|十分|超级|超|蛮|挺|相当|极其|格外|异常|够|颇为?|比较|真|好|这么|那么|如此)*(?:是|的|地)?"
)
_TAIL = "(?:的|了|哦|啊|哈|啦|呀|吧|滴|哒|嘛|哟|噢|喔|呦|极了|无比)*"
_ANY_QUALITY = _any([*chain.from_iterable(_WORDS["qualities"].values()), *_WORDS["of some"]])
_QUALITY = f"{_ANY_QUALITY}(?:(?:又|而又|且|而且|并且|和)?{_ANY_QUALITY})*"
_SUBJECT = rf"(?P<subject>(?:(?!{_any(_WORDS['no subject'])})[{HAN}A-Za-z]){{1,8}}?)"
_STATE = re.compile(rf"(?:{_SUBJECT})??(?P<degree>{_DEGREE})(?P<quality>{_QUALITY}){_TAIL}$")
_ACTION = re.compile(
    rf"{_SUBJECT}??(?P<verb>{_any(_WORDS['verbs'])})了?(?P<object>[{HAN}A-Za-z0-9%.\-]{{2,14}}?){_TAIL}$"
)
_DESIGN = re.compile(rf"[{HAN}A-Za-z]{{2,6}}(?:设计|工艺|结构)$")
_STORY = re.compile(rf"讲述了?(?P<about>[{HAN}A-Za-z0-9·]{{3,24}}?)的?故事$")
_REFUSED = re.compile(_any(chain.from_iterable(_WORDS["refused"].values())))
_HARMLESS = re.compile(_any(_WORDS["harmless"]))
_LOOSE = re.compile(f"^[的下]|很|非常|所有|{_any(_WORDS['qualities']['taste'])}")
_PRAISE = frozenset(_WORDS["qualities"]["praise"])
_MERE_PRAISE = re.compile(f"{_any(_PRAISE)}$")
_NOT_ALONE = _PRAISE | frozenset(_WORDS["qualities"]["taste"])
_SHORT = 4  # characters
_SHORT_SUBJECTS = frozenset("汤面饭肉鱼菜皮茶酒店虾蟹粥饼鸡鸭量馅料锅甜")


def chinese_phrases(text: str) -> Iterator[Phrase]:
    """What a Chinese text says of its item, in reading order, without words of degree and particles.

    The form is ``is`` for words of quality alone, ``does`` for a subject with them (which Chinese says of a
    whole: 这家店环境优雅) or a verb with its object, ``thing`` for how it is made (圆领设计), ``about`` for a story's.
    A span is that of the clause. Mere praise (味道不错) counts only where a text says nothing else.

    Example:
        >>> text = "环境非常优雅，我们点的鱼一般。采用长绒棉，柔软亲肤！"
        >>> [(phrase.text, phrase.form) for phrase in chinese_phrases(text)]
        [('环境优雅', 'does'), ('采用长绒棉', 'does'), ('柔软亲肤', 'is')]
    """
    said = list(_clauses(text))
    telling = [phrase for phrase in said if not _MERE_PRAISE.search(phrase.text)]
    yield from telling or said


def _clauses(text: str) -> Iterator[Phrase]:
    start = 0
    for mark in [*_BREAK.finditer(text), None]:
        end = mark.start() if mark else len(text)
        found = _in_clause(text[start:end], start) if 2 <= end - start <= 32 else None
        if found:
            yield found
        start = mark.end() if mark else end


def _in_clause(clause: str, start: int) -> Phrase | None:
    lead = _LEAD.match(clause)
    begin = lead.end() if lead else 0
    said = clause[begin:]
    span = (start + begin, start + len(clause))
    if _REFUSED.search(_HARMLESS.sub("", said)):
        return None
    story = _STORY.search(said)
    if story:
        return Phrase(story["about"], (span[0] + story.start("about"), span[0] + story.end("about")), "about")
    if _DESIGN.match(said):
        return Phrase(said, span, "thing")
    action = _ACTION.match(said)
    if action and not _LOOSE.search(action["object"]):
        return Phrase(action["verb"] + action["object"], (span[0] + action.start("verb"), span[1]), "does")
    state = _STATE.match(said)
    if state is None:
        return None
    return _state(state["subject"] or "", state["degree"], state["quality"], span)


def _state(subject: str, degree: str, quality: str, span: tuple[int, int]) -> Phrase | None:
    """A subject with its qualities; a short one takes 很, which is how it is said.

    Without a subject, how something tastes is said of a dish that was named before, and praise of anything.
    """
    named = re.findall(_ANY_QUALITY, quality)
    if len(set(named)) < len(named) or (len(quality) == 1 and quality != "好" and not degree):
        return None
    if not subject:
        of_item = len(quality) >= 4 and _NOT_ALONE.isdisjoint(named)
        return Phrase(quality, span, "is") if of_item else None
    if subject[-1] in "的得地" or (
        len(subject) == 1 and (subject not in _SHORT_SUBJECTS or named[0] in _PRAISE)
    ):
        return None
    if any(
        not subject.endswith(tuple(_WORDS["of some"][word])) for word in named if word in _WORDS["of some"]
    ):
        return None
    short = (len(quality) == 1 and bool(degree)) or len(subject + quality) < _SHORT
    if short and not degree and quality != "好":
        return None
    return Phrase(subject + "很" * (short and bool(degree)) + quality, span, "does")
