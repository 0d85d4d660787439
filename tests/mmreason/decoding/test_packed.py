"""An LM's layers as a CPU runs them fastest: the same bits."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tiny_lms import tiny_lm

from mmreason.decoding.in_place import in_place
from mmreason.decoding.packed import Packed


def test_packed_weights_give_the_same_bits_and_follow_changes() -> None:
    lm = deepcopy(tiny_lm("llama")).to(torch.bfloat16)
    packed = Packed(lm)
    if not packed.forwards:
        pytest.skip("this CPU does not multiply bf16")
    hidden, linear = torch.randn(1, 7, 32, dtype=torch.bfloat16), lm.model.layers[0].mlp.up_proj
    with torch.inference_mode():
        for _ in range(2):
            with packed.used():
                ours = linear(hidden)
            assert torch.equal(ours, linear(hidden))
            linear.weight.mul_(2)
        assert "forward" not in vars(linear)
        kinds = {type(module).__name__ for module, _ in packed.forwards}
        assert kinds == {"Linear", "LlamaRMSNorm", "LlamaMLP"}
        ids = torch.arange(9)[None]
        with packed.used():
            ours = lm(ids).logits
        assert torch.equal(ours, lm(ids).logits)


def test_only_layers_that_give_the_same_bits_change_in_place() -> None:
    # Gemma's norms add one to the weights, and its gates are GELU.
    gemma = deepcopy(tiny_lm("gemma")).to(torch.bfloat16)
    assert not any(in_place(module) for module in gemma.modules())
    assert not any(in_place(module) for module in tiny_lm("llama").modules()), "float32"
