from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from encoders import VideoEncoder, create_encoder

TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def test_named_parts_train_and_the_rest_is_frozen(caplog: pytest.LogCaptureFixture) -> None:
    encoder = create_encoder("timm:vit_tiny_patch16_224")
    with caplog.at_level(logging.INFO, "encoders.trainable"):
        names = encoder.set_trainable(["blocks.1", "norm"])
    assert all(name.startswith(("tower.blocks.1.", "tower.norm.")) for name in names)
    assert {"tower.norm.weight", "tower.blocks.1.attn.qkv.weight"} <= set(names)
    assert names == [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert f"{len(names)} of" in caplog.text
    every_attention = encoder.set_trainable(["blocks.*.attn"])
    assert len(every_attention) == 12 * 4
    assert len(encoder.set_trainable(["*"])) == len(list(encoder.parameters()))
    assert encoder.set_trainable([]) == []
    with pytest.raises(ValueError, match=r"no part 'block\.1': did you mean .*blocks"):
        encoder.set_trainable(["block.1"])


def test_frozen_parts_keep_their_statistics() -> None:
    encoder: Any = create_encoder("timm:test_resnet")
    encoder.set_trainable(["layer4"])
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


def test_earlier_layers_learn_slower_and_vectors_do_not_decay() -> None:
    encoder: Any = create_encoder("openclip:tiny", config=TINY)
    video = VideoEncoder(encoder, pool="attention")
    groups = video.parameter_groups(1.0, layer_decay=0.5, weight_decay=0.1)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in video.named_parameters():
        expected = next(
            (0.5 ** (3 - i) for i in range(3) if f"resblocks.{i}." in name),
            1.0 if ("pool." in name or "proj" in name or "ln_post" in name) else 0.5**4,
        )
        assert rates[id(parameter)] == expected, name
    assert all((p.ndim > 1) == (group["weight_decay"] > 0) for group in groups for p in group["params"])
    video.set_trainable(["pool"])
    assert sum(len(group["params"]) for group in video.parameter_groups(1.0)) == 4
    torch.optim.AdamW(video.parameter_groups(1e-3))
