"""8-bit layers and folded normalisations: close to what they replace, and a row's result is its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from encoders import create_encoder
from encoders.folding import FusedConv, fold_batch_norms
from encoders.int8 import Int8Linear, is_fast, quantise_linears

needs_vnni = pytest.mark.skipif(not is_fast(), reason="this CPU has no VNNI")


@needs_vnni
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer(bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 192, bias=bias)
    inputs = torch.randn(5, 70, 256)
    fast = Int8Linear(linear.weight, linear.bias)
    with torch.no_grad():
        out, exact = fast(inputs), linear(inputs)
        assert out.shape == exact.shape and out.dtype == torch.float32
        assert nn.functional.cosine_similarity(out, exact, dim=-1).min() > 0.999
        assert torch.allclose(fast(inputs[3:4, 7:8]), out[3:4, 7:8], atol=1e-6)
        assert torch.equal(fast(torch.zeros(1, 256))[0], fast.bias)


@needs_vnni
@pytest.mark.parametrize("batch_first", [True, False])
def test_attention(batch_first: bool) -> None:
    torch.manual_seed(0)
    module = nn.ModuleDict({"attn": nn.MultiheadAttention(128, 4, batch_first=batch_first)}).eval()
    attention, inputs = module["attn"], torch.randn(3, 6, 128)
    mask = torch.full((6, 6) if batch_first else (3, 3), -torch.inf).triu(1)
    with torch.no_grad():
        for attn_mask in (None, mask):
            exact = attention(inputs, inputs, inputs, need_weights=False, attn_mask=attn_mask)[0]
            module["attn"] = attention
            assert quantise_linears(module) == 1
            out = module["attn"](inputs, inputs, inputs, need_weights=False, attn_mask=attn_mask)[0]
            assert nn.functional.cosine_similarity(out, exact, dim=-1).min() > 0.99
        first = inputs[:, :1] if batch_first else inputs[:1]
        exact = attention(first, inputs, inputs, need_weights=False)[0]
        out = module["attn"](first, inputs, inputs, need_weights=False)[0]
        assert out.shape == exact.shape and nn.functional.cosine_similarity(out, exact, dim=-1).min() > 0.99


def test_small_layers_stay() -> None:
    assert quantise_linears(nn.Sequential(nn.Linear(8, 8), nn.ReLU())) == 0


# The second pads as TensorFlow does and has ReLU6, the third is made of other activations.
@pytest.mark.parametrize("name", ["test_efficientnet", "tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_folding_changes_no_feature(name: str) -> None:
    torch.manual_seed(0)
    encoder = create_encoder(f"timm:{name}", feature="multi")
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    pictures = torch.randint(0, 256, (2, 3, encoder.preprocessing.size, encoder.preprocessing.size)).byte()
    with torch.no_grad():
        before = encoder(pictures)
        assert fold_batch_norms(encoder) > 5
        assert torch.allclose(encoder(pictures), before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    fused = [module for module in encoder.modules() if isinstance(module, FusedConv)]
    assert len({type(one.act) for one in fused}) >= (2 if "mobilenet" in name else 1)
    with torch.no_grad():  # other formats go the plain way
        assert torch.allclose(
            encoder.bfloat16()(pictures).float(), before, atol=0.1 * float(before.abs().max())
        )
