from __future__ import annotations

from typing import Any

import pytest
import torch

from encoders import create_encoder

TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def test_frozen_parts_keep_their_statistics() -> None:
    encoder: Any = create_encoder("timm:test_resnet")
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_("layer4" in name)
    encoder.train()
    before = {name: value.clone() for name, value in encoder.named_buffers() if "running_mean" in name}
    encoder(torch.rand(4, 3, 160, 160)).sum().backward()
    changed = {name for name, value in encoder.named_buffers() if not value.equal(before.get(name, value))}
    assert changed
    assert all("layer4" in name for name in changed)
    gradients = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert all("layer4" in name for name in gradients)


@pytest.mark.parametrize("kind", ["openclip", "openclip-text"])
def test_layers_come_in_order_and_each_parameter_once(kind: str) -> None:
    encoder = create_encoder(f"{kind}:tiny", config=TINY)
    layers = encoder.layer_groups()
    blocks = 3 if kind == "openclip" else 2
    assert len(layers) == blocks + 2
    assert any("positional_embedding" in name for name in layers[0])
    assert all(f"resblocks.{i}." in name for i in range(blocks) for name in layers[i + 1])
    assert any(name.split(".")[-1] in ("proj", "text_projection") for name in layers[-1])
    names = [name for layer in layers for name in layer]
    assert sorted(names) == sorted(name for name, _ in encoder.named_parameters())
