"""What the LM is told in words, and where the soft tokens go."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError

from mmreason.config import PromptConfig, ReasonConfig
from mmreason.schema import Interaction, Item

SOFT = "\x00"  # where the soft tokens go; NUL is taken out of catalogue texts, so it is ours alone
VERBS = {  # of every event that a history may hold
    "impression": "saw",
    "click": "clicked",
    "view": "viewed",
    "watch": "watched",
    "read": "read",
    "cart": "added",
    "purchase": "bought",
    "rating": "rated",
    "review": "reviewed",
}
STRENGTH = {  # how much an event says of what a user wants
    "purchase": 5.0,
    "cart": 4.0,
    "review": 3.0,
    "rating": 3.0,
    "read": 2.0,
    "watch": 2.0,
    "view": 2.0,
    "click": 1.0,
    "impression": 0.0,
}


def prompt_text(
    item: Item, history: list[Interaction], items: Mapping[str, Item], config: ReasonConfig
) -> str:
    """The prompt, with :data:`SOFT` where the soft tokens go.

    Only ``title`` and visible ``attributes`` are told: ``hidden`` ones never are.

    Args:
        item: The item to give a reason for.
        history: What the user did.
        items: History items by id; unknown ones are left out.
        config: ``inputs`` chooses text, soft tokens or both.

    Example:
        >>> prompt_text(Item("a", "Coat"), [], {}, ReasonConfig(inputs="text"))
        'Item: Coat\\nReason:'
    """
    if config.inputs == "soft":
        return f"Shared: {SOFT}\nReason:"
    named = [
        f"{VERBS.get(i.event, i.event)} {_describe(items[i.item_id], config)}"
        for i in strongest([i for i in history if i.item_id in items], config.prompt.history_items)
    ]
    lines = [f"History: {'; '.join(named)}"] if named else []
    lines.append(f"Item: {_describe(item, config)}")
    if config.inputs == "both":
        lines.append(f"Shared: {SOFT}")
    return "\n".join([*lines, "Reason:"])


def plan_prompt(words: str) -> str:
    """The prompt of an LM that reads a plan in words.

    Args:
        words: Of :func:`mmreason.wording.brief.brief_of`.

    Example:
        >>> plan_prompt("Thing: mug")
        'Thing: mug\\nReason:'
    """
    return f"{words.replace(SOFT, ' ')}\nReason:"


def strongest(history: list[Interaction], count: int) -> list[Interaction]:
    """The interactions that say most: by kind of event and rating, then the latest; oldest first."""

    def strength(pair: tuple[int, Interaction]) -> tuple[float, int]:
        index, i = pair
        liked = (i.rating - 3) if i.rating is not None else 0.0
        return STRENGTH.get(i.event, 0.0) + liked, index

    best = sorted(enumerate(history), key=strength, reverse=True)[:count]
    return [i for _, i in sorted(best)]


def _describe(item: Item, config: ReasonConfig) -> str:
    values = [value for values in item.attributes.values() for value in values]
    facts = ", ".join(dict.fromkeys(values[: config.prompt.facts]))
    text = f"{item.title or item.id} ({facts})" if facts else item.title or item.id
    return text.replace(SOFT, " ").replace("\n", " ")


def encode_prompt(
    text: str, tokenizer: Any, soft_tokens: int, config: ReasonConfig
) -> tuple[list[int], list[bool]]:
    """Token ids of a prompt and which of them are to be replaced by soft tokens.

    Catalogue text is tokenised with special tokens split, so that a title cannot speak as the system. A prompt without
    chat template begins with the beginning-of-sequence token where the tokenizer puts one before texts. A prompt
    longer than ``prompt.max_tokens``, or than the LM has positions for beside ``max_length`` of text, loses the ends
    of its longest lines.
    """
    head, tail = _frame(tokenizer, config.prompt)
    before = tokenizer.encode(head, add_special_tokens=False) if head else _begin(tokenizer)
    after = tokenizer.encode(tail, add_special_tokens=False) if tail else []
    limit = min(config.prompt.max_tokens, tokenizer.model_max_length - config.max_length)
    limit -= len(before) + len(after) + soft_tokens * text.count(SOFT)
    ids, soft = _encode(text, tokenizer, soft_tokens)
    if soft.count(False) > limit:
        ids, soft = _encode(_shorten(text, tokenizer, limit), tokenizer, soft_tokens)
    return [*before, *ids, *after], [False] * len(before) + soft + [False] * len(after)


def _encode(text: str, tokenizer: Any, soft_tokens: int) -> tuple[list[int], list[bool]]:
    ids: list[int] = []
    soft: list[bool] = []
    for index, part in enumerate(text.split(SOFT)):
        if index:
            ids += [0] * soft_tokens
            soft += [True] * soft_tokens
        words = _words(part, tokenizer)
        ids += words
        soft += [False] * len(words)
    return ids, soft


def _words(text: str, tokenizer: Any) -> list[int]:
    """Token ids of catalogue text, of which none is special."""
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) if text else []


def _shorten(text: str, tokenizer: Any, limit: int) -> str:
    """Cut the longest lines to one length, so that the text has at most ``limit`` tokens."""
    lines = text.split("\n")
    words = [_words(line.replace(SOFT, ""), tokenizer) for line in lines]
    room = limit - (len(lines) - 1)  # each end of line may be a token
    lengths = range(max(map(len, words)) + 1)
    longest = bisect_right(lengths, room, key=lambda length: sum(min(len(ids), length) for ids in words)) - 1
    return "\n".join(
        tokenizer.decode(ids[: max(longest, 0)]).rstrip("\ufffd")
        if len(ids) > longest and SOFT not in line
        else line
        for line, ids in zip(lines, words, strict=True)
    )


def _begin(tokenizer: Any) -> list[int]:
    """The beginning-of-sequence token, if the tokenizer puts one before a text."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer.encode("a")[:1] == [bos] else []


def _frame(tokenizer: Any, prompt: PromptConfig) -> tuple[str, str]:
    """What stands before and behind the prompt: the LM's chat template, or nothing where it has none.

    The instruction is the system's; a template that refuses or drops one has it at the head of the user's turn.
    """
    if not prompt.chat or not tokenizer.chat_template:
        return "", ""
    system, user = {"role": "system", "content": prompt.system}, {"role": "user", "content": SOFT}
    try:
        framed = _render(tokenizer, [system, user])
    except TemplateError:
        framed = ""
    if prompt.system not in framed:
        framed = _render(tokenizer, [{"role": "user", "content": f"{prompt.system}\n\n{SOFT}"}])
    head, _, tail = framed.partition(SOFT)
    return head, tail


def _render(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
