"""What the LM is told in words, and where the soft tokens go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmreason.config import ReasonConfig
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

    Catalogue text is tokenised with special tokens split, so that a title cannot speak as the system.
    """
    head = tail = ""
    if config.prompt.chat:
        head, tail = tokenizer.apply_chat_template(
            [{"role": "system", "content": config.prompt.system}, {"role": "user", "content": SOFT}],
            tokenize=False,
            add_generation_prompt=True,
        ).split(SOFT)
    ids = tokenizer.encode(head, add_special_tokens=False) if head else []
    soft = [False] * len(ids)
    for index, part in enumerate(text.split(SOFT)):
        if index:
            ids += [0] * soft_tokens
            soft += [True] * soft_tokens
        words = tokenizer.encode(part, add_special_tokens=False, split_special_tokens=True) if part else []
        ids += words
        soft += [False] * len(words)
    ids += tokenizer.encode(tail, add_special_tokens=False) if tail else []
    return ids, soft + [False] * (len(ids) - len(soft))
