"""What a weights folder says of itself is read: file, activation, pooling, preprocessing, tokenizer, length, prompt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny_folders import LAYOUTS, OPEN_CLIP, make, sentence_folder
from weights_folders import BAR, TEXTS, compare, pictures

from encoders import WeightsError, create_encoder
from encoders.digest import weights_digest


def _cosine(one: Any, other: Any) -> float:
    return float(torch.cosine_similarity(one, other).min())


@pytest.mark.parametrize("name", LAYOUTS)
def test_features_are_those_of_the_folders_own_library(name: str, tmp_path: Path) -> None:
    found = compare(name, make(name, tmp_path / name))
    assert min(found.values()) >= BAR, found


@pytest.mark.parametrize("name", ["openai", "dfn"])
def test_the_activation_of_the_folder_matters(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path / name)
    told = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    for kind, inputs in (("openclip", pictures()), ("openclip-text", TEXTS)):
        right = create_encoder(f"{kind}:x", str(folder), config=told)
        wrong = create_encoder(f"{kind}:x", str(folder), config={**told, "quick_gelu": False})
        assert _cosine(right.encode(inputs), wrong.encode(inputs)) < BAR
        named = create_encoder(f"{kind}:ViT-B-32", str(folder))
        assert _cosine(right.encode(inputs), named.encode(inputs)) >= BAR


def test_a_single_file_is_read_with_the_configuration_beside_it(tmp_path: Path) -> None:
    folder = make("openai", tmp_path / "openai")
    file = folder / "open_clip_model.safetensors"
    whole, single = (create_encoder("openclip:ViT-B-32", str(path)) for path in (folder, file))
    assert single.preprocessing == whole.preprocessing  # type: ignore[union-attr]
    assert torch.equal(single.encode(pictures()), whole.encode(pictures()))
    before = weights_digest(str(file))
    (folder / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text() + " ")
    assert weights_digest(str(file)) != before


def test_open_clip_s_file_stands_before_that_of_transformers(tmp_path: Path) -> None:
    folder = make("laion", tmp_path / "laion")
    assert (folder / "model.safetensors").is_file()
    before = create_encoder("openclip:ViT-B-32", str(folder)).encode(pictures())
    (folder / "model.safetensors").unlink()
    assert torch.equal(create_encoder("openclip:ViT-B-32", str(folder)).encode(pictures()), before)


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    folder = make("openai", tmp_path / "openai")
    whole = create_encoder("openclip:ViT-B-32", str(folder)).encode(pictures())
    state = load_file(folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").unlink()
    names = [sorted(state)[0::2], sorted(state)[1::2]]
    for i, part in enumerate(names):
        save_file({name: state[name] for name in part}, folder / f"open_clip_model-{i}.safetensors")
    index = folder / "open_clip_model.safetensors.index.json"
    where = {name: f"open_clip_model-{i}.safetensors" for i, part in enumerate(names) for name in part}
    index.write_text(json.dumps({"weight_map": where}))
    assert torch.equal(create_encoder("openclip:ViT-B-32", str(folder)).encode(pictures()), whole)
    index.write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    with pytest.raises(WeightsError, match="outside its folder"):
        create_encoder("openclip:ViT-B-32", str(folder))


def test_a_timm_folder_s_arguments_are_read(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "model.safetensors")
    said: dict[str, Any] = {"architecture": "test_vit", "model_args": {"act_layer": "quick_gelu"}}
    said["pretrained_cfg"] = {"mean": [0.1, 0.2, 0.3], "crop_mode": "squash"}
    (tmp_path / "config.json").write_text(json.dumps(said))
    told: Any = create_encoder("timm:test_vit", str(tmp_path))
    assert told.preprocessing.squash
    assert told.preprocessing.mean == (0.1, 0.2, 0.3)
    assert "QuickGELU" in {type(module).__name__ for module in told.tower.modules()}


@pytest.mark.parametrize("file", ["tokenizer", "all"])
def test_a_missing_tokenizer_is_an_error(tmp_path: Path, file: str) -> None:
    folder = make("bge", tmp_path / "bge")
    for path in folder.glob("*token*" if file == "tokenizer" else "[!cm1s]*.*"):
        path.unlink()
    for path in folder.glob("vocab*"):
        path.unlink()
    with pytest.raises(WeightsError, match=r"bge.*tokenizer"):
        create_encoder("hf-text:x", str(folder))


def test_a_tokenizer_of_another_model_is_an_error(tmp_path: Path) -> None:
    folder = make("bge", tmp_path / "bge")
    other = make("gte", tmp_path / "other")
    from tiny_folders import bert_tokenizer

    larger = bert_tokenizer()
    larger.add_tokens([f"word{i}" for i in range(40)])
    larger.save_pretrained(folder)
    with pytest.raises(WeightsError, match="words, the model 32"):
        create_encoder("hf-text:x", str(folder))
    shutil.rmtree(other)


def test_usable_lengths(tmp_path: Path) -> None:
    roberta: Any = create_encoder("hf-text:x", str(make("e5", tmp_path / "e5")), max_length=1024)
    assert roberta.max_length == 32  # of 34 positions two hold no token
    assert roberta.encode(["red " * 500]).isfinite().all()
    bge: Any = create_encoder("hf-text:x", str(make("bge", tmp_path / "bge")))
    assert bge.max_length == 48
    assert len(bge.preprocess("red " * 500)["input_ids"]) == 48


def test_a_model_without_a_limit_works(tmp_path: Path) -> None:
    from transformers import XLNetConfig, XLNetModel

    torch.manual_seed(0)
    XLNetModel(XLNetConfig(vocab_size=32, d_model=32, n_layer=2, n_head=2, d_inner=64)).save_pretrained(
        tmp_path
    )
    from tiny_folders import tokenizer

    tokenizer("[PAD]", end="[SEP]").save_pretrained(tmp_path)
    encoder: Any = create_encoder("hf-text:x", str(tmp_path), max_length=1024)
    assert encoder.max_length == 1024
    assert encoder.encode(TEXTS).isfinite().all()


@pytest.mark.parametrize(
    ("poolings", "expected"),
    [
        ("cls_token", "cls"),
        ("lasttoken", "last"),
        ("weightedmean_tokens", "weightedmean"),
        ("max_tokens", "max"),
    ],
)
def test_the_folder_s_pooling_is_used_unless_another_is_asked_for(
    tmp_path: Path, poolings: str, expected: str
) -> None:
    folder = make("gte", tmp_path / "gte")
    sentence_folder(folder, [poolings], [], max_seq_length=64)
    said: Any = create_encoder("hf-text:x", str(folder))
    asked: Any = create_encoder("hf-text:x", str(folder), pooling=expected)
    mean: Any = create_encoder("hf-text:x", str(folder), pooling="mean")
    assert torch.equal(said.encode(TEXTS), asked.encode(TEXTS))
    assert _cosine(said.encode(TEXTS), mean.encode(TEXTS)) < BAR
    single = torch.cat([said.encode([text]) for text in TEXTS])
    torch.testing.assert_close(said.encode(TEXTS), single, rtol=1e-4, atol=1e-5)


def test_what_is_not_done_here_is_refused(tmp_path: Path) -> None:
    folder = make("gte", tmp_path / "gte")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(
        json.dumps([*modules, {"path": "2_X", "type": "a.b.WeightedLayerPooling"}])
    )
    with pytest.raises(WeightsError, match="WeightedLayerPooling is not supported"):
        create_encoder("hf-text:x", str(folder))
    (folder / "modules.json").write_text(json.dumps([{"path": "../1_Pooling", "type": "a.Pooling"}]))
    with pytest.raises(WeightsError, match="outside its folder"):
        create_encoder("hf-text:x", str(folder))


@pytest.mark.parametrize("name", ["bge", "dense", "clip", "siglip2"])
def test_a_tower_that_was_trained_and_saved_is_read_as_before(tmp_path: Path, name: str) -> None:
    from mmreason.align.towers import _copy_sayings

    folder, target = make(name, tmp_path / name), tmp_path / "saved"
    target.mkdir()
    before: Any = create_encoder("hf-text:x", str(folder))
    _copy_sayings(folder, target)
    before.model.save_pretrained(target)
    before.tokenizer.save_pretrained(target)
    after = create_encoder("hf-text:x", str(target))
    torch.testing.assert_close(after.encode(TEXTS), before.encode(TEXTS))


def test_open_clip_layouts_are_all_there() -> None:
    assert set(OPEN_CLIP) < set(LAYOUTS)


def test_modules_that_are_named_must_be_there(tmp_path: Path) -> None:
    folder = tmp_path / "bge"
    make("bge", folder)
    listed, pooling = folder / "modules.json", folder / "1_Pooling" / "config.json"
    modules = listed.read_text()
    for text, said in (
        ("{}", "no list of modules"),
        (modules.replace("sentence_transformers", "own"), "own."),
    ):
        listed.write_text(text)
        with pytest.raises(WeightsError, match=said):
            create_encoder("hf-text:bge", str(folder))
    listed.write_text(modules)
    pooling.unlink()
    with pytest.raises(WeightsError, match=r"1_Pooling.config\.json: missing, but named in modules\.json"):
        create_encoder("hf-text:bge", str(folder))


@pytest.mark.parametrize("length", ["48", -1, 1.5])
def test_a_length_that_is_none_is_an_error(tmp_path: Path, length: Any) -> None:
    folder = tmp_path / "bge"
    make("bge", folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}))
    with pytest.raises(WeightsError, match=r"max_seq_length is .* not a whole number"):
        create_encoder("hf-text:bge", str(folder))


def test_a_model_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """As sentence-transformers before version 2 wrote it."""
    from mmreason.align.towers import _copy_sayings

    folder = make("bge", tmp_path / "bge")
    before: Any = create_encoder("hf-text:x", str(folder))
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in [*folder.iterdir()]:
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(inner / path.name)
    (folder / "config.json").write_text('{"__version__": "0.4.1"}')
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    after: Any = create_encoder("hf-text:x", str(folder))
    assert (after.max_length, after.pooling) == (before.max_length, before.pooling)
    torch.testing.assert_close(after.encode(TEXTS), before.encode(TEXTS))
    target = tmp_path / "saved"
    target.mkdir()
    _copy_sayings(folder, target)
    before.model.save_pretrained(target)
    before.tokenizer.save_pretrained(target)
    again: Any = create_encoder("hf-text:x", str(target))
    assert again.max_length == before.max_length
    torch.testing.assert_close(again.encode(TEXTS), before.encode(TEXTS))


@pytest.mark.parametrize("name", ["bge", "openai"])
def test_weights_that_are_no_numbers_are_refused(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path / name)
    file = next(folder.glob("*.safetensors"))
    state = load_file(file)
    next(tensor for tensor in state.values() if tensor.is_floating_point()).flatten()[0] = torch.nan
    save_file(state, file, {"format": "pt"})
    with pytest.raises(WeightsError, match="holds values that are no numbers"):
        create_encoder("hf-text:x" if name == "bge" else "openclip:ViT-B-32", str(folder))
        create_encoder("openclip-text:ViT-B-32", str(folder))


@pytest.mark.parametrize("shard", ["../outside.safetensors", "..", "gone.safetensors"])
def test_shards_lie_beside_their_index(shard: str, tmp_path: Path) -> None:
    folder = make("bge", tmp_path / "bge")
    file = folder / "model.safetensors"
    shutil.copy(file, tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(file), shard)}
    file.unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"outside its folder|not beside it"):
        create_encoder("hf-text:x", str(folder))
