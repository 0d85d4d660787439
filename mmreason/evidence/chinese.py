"""Phrases of a Chinese text that say something good of its item: 环境优雅, 面料柔软亲肤, 适合朋友聚会.

By rules over characters, without a word cutter: a clause between two marks counts if it is, as a whole, a short
subject with words of quality behind it, such words alone, or a verb such as 采用 or 适合 with its object. What is said
of a part (皮脆) or of nothing (肥而不腻) takes the dish that the clause before names, or is left. Left too are clauses
about the writer, a visit, a price, other places, or with a *not* in them, those beside a complaint or before a *but*,
superlatives, which advertising may not use, and all of a text that complains more than it praises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    "^(?:(?:我|个人)?(?:感觉|觉得)|这个|那个|这道|那道|而且|并且|另外|此外|首先|其次|总之|是因为|总的来说|总体来说|总体上?|整体上?|大体上?|因为|所以|因此|真的是?|真心|确实是?|关键是?|主要是?|尤其是?|特别是|其实|"
    "他们家的?|她们家的?|他家的?|这家店?的?|这里的?|这边的?|这儿的?|那里的?|店里的?|店内的?|里面的?|本店的?|该店的?|家的|还有|再加上|加上|"
    "这款|这件|这双|本品|本款|产品|该|吃起来|喝起来|闻起来|看起来|看上去|摸起来|穿起来|用起来|入口)+"
)
_STRENGTH = "很是|很|非常之?|特别|十分|超级|超|蛮|挺|相当|极其|格外|异常|够|颇为?|真心|真的|真|好|倍"
_DEGREE = (
    "(?:都|也|还|又|倒|却|均)?是?(?:真的|真心|确实|还是)?"
    f"(?:{_STRENGTH}|比较|较为|较|还算|这么|那么|如此)*(?:是|的|地)?"
)
_WEAK = re.compile("较|算|么|如此|还|倒|却")
_WRITTEN = re.compile("很|非常|特别|十分|超级|挺|蛮|相当")
_TAIL = "(?:的|了|哦|啊|哈|啦|呀|吧|滴|哒|嘛|哟|噢|喔|呦|极了|无比)*"
_ANY_QUALITY = _any([*chain.from_iterable(_WORDS["qualities"].values()), *_WORDS["of some"]])
_QUALITY = f"{_ANY_QUALITY}(?:(?:又|而又|且|而且|并且)?{_ANY_QUALITY})*"
_LETTER = rf"(?:(?!{_any(_WORDS['no subject'])})[{HAN}A-Za-z])"
_SUBJECT = rf"(?P<subject>{_LETTER}{{0,6}}?{_any(_WORDS['scents'])}|{_LETTER}{{1,8}}?)"
_STATE = re.compile(
    rf"(?:{_SUBJECT}(?P<made>[做烤煮炒炖煎炸卤烧熬蒸焖泡腌][的得])?)??"
    rf"(?P<degree>{_DEGREE})(?P<quality>{_QUALITY}){_TAIL}$"
)
_ACTION = re.compile(
    rf"{_SUBJECT}??(?:也|还|都|很|非常|特别|十分|挺|蛮)*(?P<verb>{_any(_WORDS['verbs'])})了?"
    rf"(?P<object>(?![在到成得出点])[{HAN}A-Za-z0-9%.\-]{{2,14}}?)(?:的(?:地方|店|小店|餐厅|餐馆|场所|去处))?{_TAIL}$"
)
_VIEW = re.compile(
    rf"(?P<from>[{HAN}]{{0,8}}?)(?:就|还|也|都)*(?P<view>(?:可以|能够?)(?:看到|看见|俯瞰|眺望|欣赏到?|远眺)[{HAN}]{{0,7}}[景江湖海河山塔街桥]){_TAIL}$"
)
_NEAR = re.compile(
    rf"离(?P<place>地铁口?|地铁站|公交站|车站|高铁站|火车站)(?:也|都|还)?(?P<near>[很非常特别超]*近){_TAIL}$"
)
_HAS = re.compile(
    rf"(?:店里|店内|里面|楼上|楼下|门口|[一二三]楼)?(?:也|还|都)*(?P<has>有(?:[{HAN}]{{0,4}}?)?{_any(_WORDS['facilities'])}){_TAIL}$"
)
_FRESH = re.compile(
    rf"{_SUBJECT}(?:都|也|均)?(?P<made>是(?:新鲜出炉|刚出炉|现做|现烤|现炸|现切|现磨|现点现做|手工制作|手工现做|自制)的){_TAIL}$"
)
_DESIGN = re.compile(rf"[{HAN}A-Za-z]{{2,6}}(?:设计|工艺|结构)$")
_STORY = re.compile(rf"讲述了?(?P<about>[{HAN}A-Za-z0-9·]{{3,24}}?)的?故事$")
_REFUSED = re.compile(_any(chain.from_iterable(_WORDS["refused"].values())))
_HARMLESS = re.compile(_any(_WORDS["harmless"]))
_LOOSE = re.compile(f"^[的下]|很|非常|所有|{_any(_WORDS['qualities']['taste'])}")
_TASTE = frozenset(_WORDS["qualities"]["taste"])
_PRAISE = frozenset(_WORDS["qualities"]["praise"])
_GENERIC = _PRAISE | {"好吃", "好喝", "美味", "可口"}
_MERE_PRAISE = re.compile(f"{_any(_PRAISE)}$")
_SHORT = 4  # characters
_SHORT_SUBJECTS = frozenset("汤面饭肉鱼菜皮茶酒店虾蟹粥饼鸡鸭量馅料锅甜")
_PARTS = frozenset(_WORDS["parts"])
_WHOLE = frozenset(_WORDS["of the whole"])
_DISH = re.compile(
    "(?:我们?|又|还|也|必|主要|先|另外|尤其是?|特别是|比如|像)*(?:点了?|要了?|来了|吃了|尝了|喜欢)?"
    "(?:一?[份个盘碗锅条只杯道])?(?:他家的?|店里的?|这里的?|招牌的?)?"
    rf"(?P<dish>(?:(?!{_any(_WORDS['no subject'])}|的)[{HAN}]){{1,6}}{_any(_WORDS['dishes'])})$"
)
_IS_DISH = re.compile(f"{_any(_WORDS['dishes'])}$")
_IS_PERSON = re.compile(f"{_any(_WORDS['persons'])}$")
_OF_PERSONS = frozenset(_WORDS["of persons"])
_OF_PERSONS_ONLY = frozenset(_WORDS["of persons only"])
_CUT = re.compile(f"{_ANY_QUALITY}{_any(_PARTS)}$")
_OF_ANYTHING = frozenset(_WORDS["says little"])
_PACE = re.compile(f"{_any(_WORDS['pace'])}$")
_PLACE = re.compile(_any(_WORDS["place text"]))
_OF_A_PLACE = frozenset(["适合", "主打", "主营", "设有", "提供"])
_COMPLAINT = re.compile(
    f"{_any(_WORDS['complaints'])}|[不没](?:很|太|够|怎么|是|那么|有)*{_any(chain.from_iterable(_WORDS['qualities'].values()))}"
)
_BUT = re.compile(_any(_WORDS["contrast"]))
_GOOD = re.compile(_ANY_QUALITY)
_END = re.compile(r"[。！？；…~～!?;\n]|\\n")
_ENDING = re.compile("(?:上|里|内|这块|人|们)$")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a sentence between two marks.

    Attributes:
        text: Of it.
        start: Its place in the text.
        mood: 1 if it praises, -1 if it complains.
        first: Whether a sentence begins with it.
    """

    text: str
    start: int
    mood: int
    first: bool


def chinese_phrases(text: str) -> Iterator[Phrase]:
    """What a Chinese text says of its item, in reading order, without words of degree and particles.

    The form is ``is`` for words of quality alone, ``does`` for a subject with them (which Chinese says of a
    whole: 这家店环境优雅) or a verb with its object, ``thing`` for how it is made (圆领设计), ``about`` for a story's.
    A span is that of the clause, and of the one that names its dish. Mere praise (豆腐不错) counts only where a text
    says nothing else.

    Example:
        >>> [(phrase.text, phrase.form) for phrase in chinese_phrases("采用长绒棉，柔软亲肤！")]
        [('采用长绒棉', 'does'), ('柔软亲肤', 'is')]
        >>> [phrase.text for phrase in chinese_phrases("烤羊排外酥里嫩，分量很足。")]
        ['烤羊排外酥里嫩', '烤羊排分量很足']
    """
    found = _said(list(_parts(text)), of_place(text))
    said = list({phrase.text: phrase for phrase in found}.values())
    telling = [phrase for phrase in said if not _MERE_PRAISE.search(phrase.text)]
    yield from telling or said


def of_place(text: str) -> bool:
    """Whether a text is of a place that serves several things, so that what has no name may be said of any of them."""
    return bool(_PLACE.search(text))


def _parts(text: str) -> Iterator[_Part]:
    start, first = 0, True
    for mark in [*_BREAK.finditer(text), None]:
        end = mark.start() if mark else len(text)
        if start < end:
            said = text[start:end]
            plain = _HARMLESS.sub("", said)
            mood = -1 if _COMPLAINT.search(plain) else int(bool(_GOOD.search(said)))
            yield _Part(said, start, mood, first)
            first = False
        start = mark.end() if mark else end
        first = first or bool(mark and _END.search(mark.group()))


def _said(parts: Sequence[_Part], place: bool) -> Iterator[Phrase]:
    """The phrases of a text's parts; none if more of them complain than praise."""
    if sum(part.mood for part in parts) < 0:
        return
    owner: tuple[str, int] | None = None
    for number, part in enumerate(parts):
        behind = parts[number + 1] if number + 1 < len(parts) else None
        if part.first:
            owner = None
        doubted = (behind and (_BUT.match(behind.text) or (behind.mood < 0 and not behind.first))) or (
            not part.first and parts[number - 1].mood < 0
        )
        found = None if doubted else _in_part(part, owner, place)
        if found:
            yield found
            owner = (
                (found.subject, found.span[0]) if found.subject and _IS_DISH.search(found.subject) else None
            )
        else:
            dish = _DISH.match(part.text)
            owner = (dish["dish"], part.start + dish.start("dish")) if dish else None


def _in_part(part: _Part, owner: tuple[str, int] | None, place: bool) -> Phrase | None:
    if not 2 <= len(part.text) <= 32 or part.mood < 0:
        return None
    lead = _LEAD.match(part.text)
    begin = lead.end() if lead else 0
    said = part.text[begin:]
    span = (part.start + begin, part.start + len(part.text))
    if _REFUSED.search(_HARMLESS.sub("", said)):
        return None
    story = _STORY.search(said)
    if story:
        return Phrase(story["about"], (span[0] + story.start("about"), span[0] + story.end("about")), "about")
    if _DESIGN.match(said):
        return Phrase(said, span, "thing")
    return _place_offers(said, span) or _action(said, span, place) or _state(said, span, owner, place)


def _place_offers(said: str, span: tuple[int, int]) -> Phrase | None:
    """A station nearby, a view, a facility, or a dish made there."""
    near, view, has, fresh = (pattern.match(said) for pattern in (_NEAR, _VIEW, _HAS, _FRESH))
    if near:
        return Phrase(f"离{near['place']}{near['near']}", span, "does")
    if view:
        return Phrase(view["from"] + view["view"], span, "does")
    if fresh:
        return Phrase(fresh["subject"] + fresh["made"], span, "does", fresh["subject"])
    return Phrase(has["has"], span, "does") if has else None


def _action(said: str, span: tuple[int, int], place: bool) -> Phrase | None:
    """A verb with its object; in a text of a place only one that a place does."""
    action = _ACTION.match(said)
    if not action or _LOOSE.search(action["object"]) or (place and action["verb"] not in _OF_A_PLACE):
        return None
    return Phrase(action["verb"] + action["object"], (span[0] + action.start("verb"), span[1]), "does")


def _state(said: str, span: tuple[int, int], owner: tuple[str, int] | None, place: bool) -> Phrase | None:
    """A subject with its qualities, of which none is said twice or more strongly than written."""
    state = _STATE.match(said)
    if state is None or _WEAK.search(state["degree"]):
        return None
    quality, subject = state["quality"], _subject(state["subject"] or "")
    named = re.findall(_ANY_QUALITY, quality)
    if (
        len(set(named)) < len(named)
        or any(word in subject for word in named)
        or len(_GOOD.findall(subject)) > 1
    ):
        return None
    if not state["subject"]:
        if owner and not _TASTE.isdisjoint(named) and len(quality) > 1:
            return Phrase(owner[0] + quality, (owner[1], span[1]), "does", owner[0])
        of_item = len(quality) >= _SHORT and _TASTE.isdisjoint(named) and _PRAISE.isdisjoint(named)
        return Phrase(quality, span, "is") if of_item else None
    if not _fits(subject, named):
        return None
    words = (state["made"] or "") + _quality(subject, state["degree"], quality)
    if words == (state["made"] or ""):
        return None
    if subject in _PARTS and (place or owner) and (len(subject) == 1 or _WHOLE.isdisjoint(named)):
        if not owner:
            return None
        part = "" if owner[0].endswith(subject) else subject
        return Phrase(owner[0] + part + words, (owner[1], span[1]), "does", owner[0])
    return Phrase(subject + words, (span[0] + said.index(subject), span[1]), "does", subject)


def _subject(subject: str) -> str:
    """A subject without what stands before its noun (可爱的小熊蛋糕), unless that owns a part (烤鸭的皮).

    Empty if the part's owner is unsure.
    """
    subject = subject if len(subject) < 3 else _ENDING.sub("", subject)
    before, _, noun = subject.rpartition("的")
    if noun in _PARTS and before:
        return subject if _IS_DISH.search(before) else ""
    if before and len(noun) <= 2:  # 靠窗的位置 is not every 位置
        return "" if before[0] in "点上选做" else subject
    return noun


def _fits(subject: str, named: Sequence[str]) -> bool:
    """Whether a subject may have all of these qualities, and they tell something of it."""
    if not subject or subject[-1] in "的得地" or _PACE.search(subject) or _CUT.search(subject):
        return False
    if len(subject) == 1 and (subject not in _SHORT_SUBJECTS or named[0] in _PRAISE):
        return False
    others = _OF_PERSONS_ONLY.intersection(named)
    if not _OF_PERSONS.issuperset(named) if _IS_PERSON.search(subject) else others:
        return False
    if subject in _OF_ANYTHING and not _GENERIC.isdisjoint(named):
        return False
    if subject.endswith(("味", "味道", "口感")) and not {"好吃", "好喝"}.isdisjoint(named):
        return False
    some = _WORDS["of some"]
    return all(subject.endswith(tuple(some[word])) for word in named if word in some)


def _quality(subject: str, degree: str, quality: str) -> str:
    """Qualities, short ones with the word of degree that is written, which Chinese needs; empty if none is."""
    short = len(quality) == 1 or len(subject + quality) < _SHORT
    if not short or (quality == "好" and not degree):
        return quality
    written = _WRITTEN.search(degree)
    return written.group() + quality if written else ""
