"""What kind of LM it is: tried out on a few tokens, for names and settings do not tell."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from mmreason.decoding.attention import Entering, Pass
from mmreason.decoding.lm import CausalLM
from mmreason.decoding.memory import is_out_of_memory
from mmreason.decoding.slots import Slots

LENGTHS = (5, 3)  # of two prompts
logger = logging.getLogger(__name__)


@torch.inference_mode()
def fits_slots(lm: CausalLM) -> bool:
    """Whether an LM gives the same logits over slots as alone, and tells attention of its sliding windows."""
    if why := _unfit(lm):
        logger.info("%s is decoded in groups of one length: %s", type(lm.lm).__name__, why)
        return False
    return True


def _unfit(lm: CausalLM) -> str:
    config = lm.lm.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        return f"layers of the kinds {sorted(kinds)}"
    if _rope_grows(config):
        return "rotary frequencies that change with the length of the longest row"
    if not getattr(lm.lm, "_supports_attention_backend", False):
        return "its attention cannot be replaced"
    try:
        slots, logits = _over_slots(lm)
    except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    if [slots.layers[index].window is not None for index in sorted(slots.layers)] != _sliding(lm):
        return "its attention does not say which layers have a sliding window"
    alone = torch.cat([lm.over_rows(_tokens(lm, length)[None])[0] for length in LENGTHS]).float()
    spread = float(alone.std())
    apart = float((logits.float() - alone).abs().max())
    bound = spread * (1e-3 if lm.dtype == torch.float32 else 0.2)
    return "" if apart <= bound else f"logits over slots are {apart:.2g} apart, their spread is {spread:.2g}"


def _rope_grows(config: Any) -> bool:
    settings = getattr(config, "rope_parameters", None) or {}
    each = [settings, *(value for value in settings.values() if isinstance(value, dict))]
    return any(rope.get("rope_type") in ("dynamic", "longrope") for rope in each)


def _sliding(lm: CausalLM) -> list[bool]:
    """Which attention layers have a sliding window, by the LM's own cache."""
    _, cache = lm.over_rows(_tokens(lm, 1)[None])
    return [bool(getattr(layer, "is_sliding", False)) for layer in cache.layers]


def _tokens(lm: CausalLM, length: int) -> Tensor:
    return lm.embed([(7 * place + length) % lm.vocabulary for place in range(length)])


def _over_slots(lm: CausalLM) -> tuple[Slots, Tensor]:
    """Two prompts without their last tokens in one pass, these tokens in another: (2, vocabulary)."""
    slots = Slots(len(LENGTHS), max(LENGTHS))
    prompts = [_tokens(lm, length) for length in LENGTHS]
    read = [length - 1 for length in LENGTHS]
    ends = torch.tensor(read).cumsum(0).tolist()
    entering = [Entering(slot, 0, ends[slot] - n, ends[slot]) for slot, n in enumerate(read)]
    places = torch.cat([torch.arange(n, device=lm.device) for n in read])
    none = places[:0]
    run = Pass(slots, none, entering)
    lm.over_slots(torch.cat([p[:-1] for p in prompts]), places, run, torch.tensor(ends, device=lm.device) - 1)
    last = torch.tensor(read, device=lm.device)
    run = Pass(slots, last, [])
    logits = lm.over_slots(
        torch.stack([p[-1] for p in prompts]), last, run, torch.arange(len(prompts), device=lm.device)
    )
    return slots, logits


@torch.inference_mode()
def cache_sizes(lm: CausalLM, slotted: bool) -> tuple[int, int]:
    """Bytes of a row's cache: for each position, and whatever its length."""
    if slotted:
        slots, _ = _over_slots(lm)
        return slots.nbytes // (slots.count * slots.length), 0
    few, many = (_held(lm.over_rows(_tokens(lm, length)[None])[1]) for length in (8, 16))
    token = max(many - few, 0) // 8
    return token, few - 8 * token


def _held(cache: Any) -> int:
    """Bytes of the tensors in a cache."""
    total = 0
    for layer in cache.layers:
        for value in vars(layer).values():
            inside = value.values() if isinstance(value, dict) else [value]
            total += sum(each.nbytes for each in inside if isinstance(each, Tensor))
    return total
