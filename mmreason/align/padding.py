"""Texts no longer than they are: OpenCLIP's towers compute over padding that nothing ever looks at."""

from __future__ import annotations

from typing import Any

from torch import nn

from encoders import Encoder


def trim_padding(encoder: Encoder, tensors: Any) -> Any:
    """Cut the columns in which every text of a batch is padding, where that changes nothing.

    A causal tower that takes its feature at the end of the text never looks behind it, and with a catalogue's
    texts half its work or more is done there.

    Args:
        encoder: The encoder; :func:`take_short_texts` must have prepared its tower.
        tensors: A collated batch of it.
    """
    tower: Any = getattr(encoder, "tower", None)
    if not _never_looks_behind(tower):
        return tensors
    used = (tensors != tower.pad_id).any(0).nonzero()
    return tensors[:, : int(used.max()) + 1] if len(used) else tensors


def take_short_texts(encoder: nn.Module) -> None:
    """Let an OpenCLIP text tower take fewer tokens than its context length: its causal mask is cut to them."""
    tower: Any = getattr(encoder, "tower", None)
    if _never_looks_behind(tower):
        tower.transformer.register_forward_pre_hook(_cut_mask, with_kwargs=True)


def _never_looks_behind(tower: Any) -> bool:
    pooled_at_end = getattr(tower, "pool_type", "") in ("argmax", "eos")
    return pooled_at_end and tower.attn_mask is not None and tower.cls_emb is None


def _cut_mask(_module: nn.Module, inputs: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    mask = options.get("attn_mask")
    tokens = inputs[0].shape[1]
    return inputs, options if mask is None else {**options, "attn_mask": mask[..., :tokens, :tokens]}
