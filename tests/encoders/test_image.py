from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config

from encoders import MediaError, WeightsError, create_encoder
from encoders.image import Preprocessing, _statistics, find_blocks
from encoders.state import load_state, read_state

Noise = Callable[..., np.ndarray]

TINY_CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def _close(ours: torch.Tensor, stock: torch.Tensor) -> float:
    return float((ours.float() - stock.float()).abs().mean())


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_pooled_features_are_timms_own(name: str) -> None:
    torch.manual_seed(0)
    encoder = create_encoder(f"timm:{name}")
    torch.manual_seed(0)
    stock = timm.create_model(name, pretrained=False, num_classes=0).eval()
    config = resolve_data_config(model=stock)
    pixels = torch.rand(2, 3, *config["input_size"][1:])
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(encoder(pixels), stock((pixels - mean) / std), rtol=1e-4, atol=1e-5)


def test_a_last_block_at_the_class_token_alone_changes_no_value_and_no_gradient() -> None:
    pooled = create_encoder("openclip:tiny", config=TINY_CLIP)
    whole = create_encoder("openclip:tiny", config=TINY_CLIP, feature="multi")
    pooled.load_state_dict(whole.state_dict())
    pixels = torch.rand(3, 3, 32, 32)
    assert pooled.tower.transformer.resblocks[-1](torch.rand(2, 17, 64)).shape == (2, 1, 64)
    mine, stock = pooled(pixels), whole.tower((pixels - whole.mean) / whole.std)
    torch.testing.assert_close(mine, stock, rtol=1e-5, atol=1e-5)
    for encoder, output in ((pooled, mine), (whole, stock)):
        encoder.zero_grad()
        output.square().sum().backward()
    for (name, one), (_, other) in zip(pooled.named_parameters(), whole.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "vit_base_patch16_siglip_224", "resnet18"])
def test_timm_preprocessing_is_the_stock_transform(name: str, noise: Noise) -> None:
    encoder = create_encoder(f"timm:{name}")
    config = resolve_data_config(model=timm.create_model(name))
    stock = create_transform(**config, is_training=False)
    for height, width in ((300, 401), (500, 320), (120, 90)):
        image = Image.fromarray(noise(height, width))
        ours = (encoder.preprocess(image) / 255 - encoder.mean) / encoder.std  # type: ignore[attr-defined]
        assert ours.shape == stock(image).shape
        assert _close(ours, stock(image)) < 0.005


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16-SigLIP"])
def test_openclip_preprocessing_is_the_stock_transform(name: str, noise: Noise) -> None:
    tag = open_clip.list_pretrained_tags_by_model(name)[0]
    config = open_clip.get_pretrained_cfg(name, tag)
    stock = image_transform_v2(
        PreprocessCfg(**{key: config[key] for key in ("mean", "std", "interpolation", "resize_mode")}),
        is_train=False,
    )
    tiny = create_encoder(
        f"openclip:{name}", config={**TINY_CLIP, "vision_cfg": {**TINY_CLIP["vision_cfg"], "image_size": 224}}
    )
    image = Image.fromarray(noise(300, 401))
    ours = (tiny.preprocess(image) / 255 - tiny.mean) / tiny.std  # type: ignore[attr-defined]
    assert _close(ours, stock(image)) < 0.005


def test_uint8_and_floating_pixels_are_the_same_picture() -> None:
    encoder = create_encoder("timm:test_resnet")
    pixels = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    torch.testing.assert_close(encoder(pixels), encoder(pixels / 255))


def test_statistics_are_mean_maximum_and_deviation() -> None:
    maps = torch.randn(2, 5, 7, 6) * 3 + 20
    expected = torch.cat([maps.mean((2, 3)), maps.amax((2, 3)), maps.std((2, 3), correction=0)], dim=1)
    torch.testing.assert_close(_statistics(maps, 1), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(_statistics(maps.permute(0, 2, 3, 1), 3), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(_statistics(maps.flatten(2).mT, 1), expected, rtol=1e-4, atol=1e-4)
    coarse = maps.bfloat16()
    torch.testing.assert_close(_statistics(coarse, 1), _statistics(coarse.float(), 1))


def test_a_constant_map_has_finite_gradients() -> None:
    maps = torch.ones(1, 2, 3, 3, requires_grad=True)
    _statistics(maps, 1).sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("tf_efficientnet_lite0", 16),
        ("resnet18", 8),
        ("vit_tiny_patch16_224", 12),
        ("convnext_atto", 12),
        ("swin_tiny_patch4_window7_224", 12),
    ],
)
def test_every_block_is_found(name: str, blocks: int) -> None:
    assert len(find_blocks(timm.create_model(name))) == blocks


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_multi_features_are_every_blocks_statistics_then_the_pooled_ones(name: str) -> None:
    torch.manual_seed(0)
    multi = create_encoder(f"timm:{name}", feature="multi")
    torch.manual_seed(0)
    pooled = create_encoder(f"timm:{name}")
    picture = torch.rand(2, 3, 160, 160)
    outputs: list[torch.Tensor] = []
    for block in find_blocks(multi.tower):  # type: ignore[arg-type]
        block.register_forward_hook(lambda _m, _i, output: outputs.append(output))
    with torch.no_grad():
        features = multi(picture)
        torch.testing.assert_close(features[:, -pooled.dim :], pooled(picture))
    expected = torch.cat([_statistics(output, 1) for output in outputs], dim=1)
    torch.testing.assert_close(features[:, : -pooled.dim], expected)
    assert features.shape == (2, multi.dim)


def test_windowed_towers_keep_channels_last() -> None:
    config = {"feature": "multi"}
    encoder = create_encoder("timm:swin_tiny_patch4_window7_224", **config)
    assert encoder.dim == 3 * (2 * 96 + 2 * 192 + 6 * 384 + 2 * 768) + 768


def test_openclip_multi_and_channels_last() -> None:
    encoder = create_encoder("openclip:tiny", config=TINY_CLIP, feature="multi")
    assert encoder.dim == 3 * 3 * 64 + 16
    resnet = {
        **TINY_CLIP,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    }
    encoder = create_encoder("openclip:tiny", config=resnet, feature="multi")
    assert encoder.dim == 3 * (32 + 64 + 128 + 256) + 16
    kernel = encoder.tower.conv2.weight  # type: ignore[union-attr]
    assert kernel.is_contiguous(memory_format=torch.channels_last)  # type: ignore[operator]


def test_a_tower_without_blocks_says_so() -> None:
    with pytest.raises(ValueError, match="feature='pooled'"):
        create_encoder("timm:densenet121", feature="multi")
    with pytest.raises(ValueError, match="'pooled' or 'multi'"):
        create_encoder("timm:test_resnet", feature="many")


@pytest.mark.parametrize("feature", ["pooled", "multi"])
def test_bf16_weights_give_float32_features_close_to_the_float32_ones(feature: str, noise: Noise) -> None:
    torch.manual_seed(0)
    encoder = create_encoder("timm:test_efficientnet", feature=feature)
    pictures = [noise(200, 220, seed) for seed in range(3)]
    full = encoder.encode(pictures)
    half = encoder.to(dtype=torch.bfloat16).encode(pictures)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half).min() > 0.995


def test_encode_keeps_order_for_any_batch_size_and_leaves_no_gradient(photo: Path, noise: Noise) -> None:
    encoder = create_encoder("timm:test_resnet").train()
    raws = [photo, photo.read_bytes(), noise(100, 90, 1), Image.fromarray(noise(64, 64, 2)), noise(50, 50, 3)]
    single = torch.cat([encoder.encode([raw]) for raw in raws])
    batched = encoder.encode(raws, batch_size=2)
    assert batched.shape == (5, encoder.dim)
    assert not batched.requires_grad
    torch.testing.assert_close(single, batched, rtol=1e-4, atol=1e-5)
    assert torch.equal(batched[0], batched[1])
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 nothing")
    with pytest.raises(MediaError, match=r"broken\.jpg"):
        create_encoder("timm:test_resnet").encode([path])


def test_a_draft_does_not_change_features(shared_data: Path) -> None:
    """Decoding at a fraction of the size must not be seen in the features of real photos."""
    torch.manual_seed(0)
    encoder = create_encoder("timm:test_efficientnet", feature="multi")
    paths = sorted((shared_data / "magento").rglob("*_main.jpg"))[:12]
    full = encoder.encode([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    assert torch.cosine_similarity(encoder.encode(paths), full).min() > 0.9995


def test_preprocessing_crops_the_centre_and_squashes_on_demand() -> None:
    picture = np.zeros((40, 80, 3), dtype=np.uint8)
    picture[:, 20:60] = 255
    cropped = Preprocessing(size=20, resize=20, mean=(0, 0, 0), std=(1, 1, 1))(picture)
    squashed = Preprocessing(size=20, resize=20, mean=(0, 0, 0), std=(1, 1, 1), squash=True)(picture)
    assert cropped.dtype == torch.uint8
    assert cropped[:, :, 1:-1].min() > 200
    assert squashed[:, :, :4].max() < 60
    assert squashed[:, :, 7:13].min() > 200


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin", "folder"])
def test_weights_survive_saving_in_every_form(tmp_path: Path, suffix: str) -> None:
    model = timm.create_model("test_resnet", pretrained=False)
    state = model.state_dict()
    if suffix in (".safetensors", "folder"):
        path = tmp_path / "model.safetensors"
        save_file(state, path)
        path = tmp_path if suffix == "folder" else path
        (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0.1, 0.2, 0.3]}}))
    else:
        path = tmp_path / f"weights{suffix}"
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    encoder = create_encoder("timm:test_resnet", str(path))
    for name, value in encoder.tower.state_dict().items():  # type: ignore[union-attr, operator]
        assert torch.equal(value, state[name])
    told = suffix in ("folder", ".safetensors")  # also beside a single file
    assert (encoder.mean.flatten()[0].item() == pytest.approx(0.1)) == told  # type: ignore[operator, union-attr]


def test_openclip_towers_take_their_part_of_a_two_tower_file(tmp_path: Path) -> None:
    model = open_clip.model.CLIP(16, TINY_CLIP["vision_cfg"], TINY_CLIP["text_cfg"])
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    told = {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "resize_mode": "squash"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(told))
    image = create_encoder("openclip:tiny", str(tmp_path), config=TINY_CLIP)
    text = create_encoder("openclip-text:tiny", str(tmp_path), config=TINY_CLIP)
    assert image.preprocessing.squash  # type: ignore[union-attr]
    pixels = torch.rand(2, 3, 32, 32)
    tokens = text.collate([text.preprocess(t) for t in ("a red shirt", "")])
    with torch.no_grad():
        model.eval()
        torch.testing.assert_close(
            image(pixels), model.encode_image((pixels - 0.5) / 0.25), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(text(tokens), model.encode_text(tokens), rtol=1e-4, atol=1e-5)


def test_siglip_towers_over_timm_trunks_load_their_part_and_have_blocks(tmp_path: Path) -> None:
    vision = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "avg"}
    vision |= {"timm_proj": "linear", "image_size": 160}
    model = open_clip.model.CustomTextCLIP(16, vision, TINY_CLIP["text_cfg"]).eval()
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    config = {**TINY_CLIP, "vision_cfg": vision}
    image = create_encoder("openclip:tiny", str(tmp_path), config=config)
    text = create_encoder("openclip-text:tiny", str(tmp_path), config=config)
    pixels = torch.rand(2, 3, 160, 160)
    normal = (pixels - image.mean) / image.std  # type: ignore[operator, union-attr]
    tokens = text.collate(text.preprocess_many(["a red shirt", ""]))
    with torch.no_grad():
        torch.testing.assert_close(image(pixels), model.encode_image(normal), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(text(tokens), model.encode_text(tokens), rtol=1e-4, atol=1e-5)
    assert len(image.blocks()) == len(model.visual.trunk.blocks)
    assert image.layer_groups()[-1].keys() >= {"tower.head.proj.weight"}


def test_weights_in_another_librarys_names_load_by_order() -> None:
    tower = timm.create_model("test_resnet", pretrained=False, num_classes=0)
    model = timm.create_model("test_resnet", pretrained=False)
    renamed = {
        f"_{i}.{name.split('.')[-1]}": value for i, (name, value) in enumerate(model.state_dict().items())
    }
    load_state(tower, renamed, "renamed")
    for name, value in tower.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    keys = list(renamed)
    swapped = {key: renamed[key] for key in [keys[2], keys[1], keys[0], *keys[3:]]}
    with pytest.raises(WeightsError, match="missing"):
        load_state(tower, swapped, "swapped")


def test_misfits_name_the_first_tensor(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    first = next(iter(state))
    save_file({**state, first: torch.zeros(1, 2)}, tmp_path / "shape.safetensors")
    with pytest.raises(
        WeightsError, match=rf"shape\.safetensors: tensor {first} has shape \(1, 2\), the model needs"
    ):
        create_encoder("timm:test_resnet", str(tmp_path / "shape.safetensors"))
    save_file({name: value for name, value in state.items() if name != first}, tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match=f"tensor {first} is missing"):
        create_encoder("timm:test_resnet", str(tmp_path / "less.safetensors"))


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_no_pickled_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Payload()}, tmp_path / "evil.pth")
    torch.save({"a": 3}, tmp_path / "numbers.pth")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("evil.pth", "not a readable"),
        ("numbers.pth", "no plain dictionary"),
        ("junk.safetensors", "not a readable"),
        ("empty", "none of model.safetensors"),
    ):
        with pytest.raises(WeightsError, match=said) as caught:
            read_state(str(tmp_path / name))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_threads_that_share_a_tower_do_not_mix_its_depths() -> None:
    encoder = create_encoder("timm:test_efficientnet", feature="multi")
    pictures = torch.randint(
        0, 256, (12, 3, 160, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        expected = encoder(pictures)
        with ThreadPoolExecutor(4) as pool:
            rows = list(pool.map(lambda i: torch.no_grad()(encoder)(pictures[i : i + 1]), range(12)))
    assert torch.allclose(torch.cat(rows), expected, atol=1e-4)
