"""A causal LM as the engine sees it: one way to call the many that transformers has."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmreason.decoding.attention import Pass, slots_of
from mmreason.decoding.packed import Packed
from mmreason.decoding.queue import Entry


class CausalLM:
    """Calls a Hugging Face causal LM on input embeddings.

    Args:
        lm: The LM, or a PEFT model around one. It is put into evaluation mode.
    """

    def __init__(self, lm: Any) -> None:
        self.lm = lm.get_base_model() if hasattr(lm, "get_base_model") else lm
        self.lm.eval()
        self.words = self.lm.get_input_embeddings()
        parameters = inspect.signature(self.lm.forward).parameters
        names = [name for name in ("cache", "past_key_values", "cache_params") if name in parameters]
        self.cache_name = names[0] if names else ""
        self.keeps = "logits_to_keep" in parameters
        with torch.inference_mode():
            self.packed = Packed(self.lm)
        self.weight_bytes = sum(p.nbytes for p in self.lm.parameters()) + self.packed.nbytes

    @property
    def device(self) -> torch.device:
        """Where the embeddings are, and so the prompts must be."""
        return self.words.weight.device  # type: ignore[no-any-return]

    @property
    def place(self) -> int:
        """Address of the embeddings: what was recorded or set aside elsewhere serves no more."""
        return self.words.weight.data_ptr()  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """Of the embeddings."""
        return self.words.weight.dtype  # type: ignore[no-any-return]

    @property
    def vocabulary(self) -> int:
        """Token ids that the embedding layer knows."""
        return len(self.words.weight)

    @property
    def hidden_size(self) -> int:
        """Length of an input embedding."""
        return self.words.weight.shape[1]  # type: ignore[no-any-return]

    @property
    def max_positions(self) -> int | None:
        """The longest text that the LM has positions for, if it says so."""
        config = self.lm.config.get_text_config(decoder=True)
        return getattr(config, "max_position_embeddings", None)

    def embed(self, ids: Sequence[int] | Tensor) -> Tensor:
        """(L, hidden_size): what the LM's embedding layer returns for L token ids."""
        return self.words(torch.as_tensor(ids, dtype=torch.long, device=self.device))  # type: ignore[no-any-return]

    def embedded(self, tokens: Sequence[int] | Tensor) -> Tensor:
        """(L, hidden_size): token ids as embeddings, and embeddings on the LM's device in its number format."""
        if isinstance(tokens, Tensor) and tokens.ndim == 2:
            return tokens.to(self.device, self.dtype)
        return self.embed(tokens)

    def tokens_of(self, entry: Entry) -> Tensor:
        """(L, hidden_size): prompt and what is written so far."""
        row = entry.rows[0]
        prompt = self.embedded(row.request.tokens)
        return torch.cat([prompt, self.embed(row.ids)]) if row.ids else prompt

    def over_slots(self, embeds: Tensor, positions: Tensor, run: Pass, keep: Tensor) -> Tensor:
        """The logits at some tokens of a flat sequence.

        Args:
            embeds: (T, hidden_size), the tokens of all rows behind each other.
            positions: (T,) long, each token's place in its row.
            run: Which token is whose.
            keep: (R,) long, tokens whose logits are wanted.

        Returns:
            (R, vocabulary).
        """
        more = {"logits_to_keep": keep} if self.keeps else {}
        with slots_of(self.lm), self.packed.used():
            logits = self.lm(
                inputs_embeds=embeds[None], position_ids=positions[None], use_cache=False, run=run, **more
            ).logits[0]
        return logits if self.keeps else logits[keep]  # type: ignore[no-any-return]

    def over_rows(self, embeds: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """The logits behind the last tokens of rows of one length, and the LM's own cache.

        Args:
            embeds: (B, L, hidden_size).
            cache: What the last call returned for the same rows.

        Returns:
            (B, vocabulary), and the cache with these tokens.
        """
        more: dict[str, Any] = {"logits_to_keep": 1} if self.keeps else {}
        if cache is not None:
            more[self.cache_name] = cache
        out = self.lm(inputs_embeds=embeds, use_cache=True, **more)
        return out.logits[:, -1], getattr(out, self.cache_name)
