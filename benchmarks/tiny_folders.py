"""Weights folders in the layouts of well-known repositories, with tiny random weights: for tests and a benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WORDS = [
    "a",
    "red",
    "blue",
    "green",
    "wool",
    "cotton",
    "shirt",
    "hoodie",
    "for",
    "long",
    "runs",
    "in",
    "rain",
]
WORDS += ["the", "soft", "warm", "coat", "with", "zip"]
_POOLING = (
    "cls_token",
    "mean_tokens",
    "max_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
)
_VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def laion(folder: Path) -> None:
    """OpenCLIP's file beside that of transformers, as ``laion/CLIP-ViT-B-32-laion2B-s34B-b79K``."""
    _open_clip(folder, {"embed_dim": 24, "vision_cfg": _VISION, "text_cfg": _TEXT})
    _clip(folder)


def openai(folder: Path) -> None:
    """QuickGELU by the folder's configuration, as ``timm/vit_base_patch32_clip_224.openai``."""
    _open_clip(folder, {"embed_dim": 24, "quick_gelu": True, "vision_cfg": _VISION, "text_cfg": _TEXT})


def dfn(folder: Path) -> None:
    """QuickGELU, another resize, and OpenCLIP's older file, as ``apple/DFN2B-CLIP-ViT-B-16``."""
    config = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": _VISION, "text_cfg": _TEXT}
    _open_clip(folder, config, {"interpolation": "bicubic", "resize_mode": "squash"})
    file = folder / "open_clip_model.safetensors"
    torch.save(load_file(file), folder / "open_clip_pytorch_model.bin")
    file.unlink()


def siglip2_open_clip(folder: Path) -> None:
    """A timm trunk and a tokenizer of its own, as ``timm/ViT-B-16-SigLIP2``."""
    vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_model_pretrained": False}
    vision |= {"timm_pool": "avg", "timm_proj": "linear"}
    text = {"context_length": 16, "vocab_size": 32, "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2", "width": 32}
    text |= {"tokenizer_kwargs": {"clean": "canonicalize"}, "heads": 2, "layers": 2, "mlp_ratio": 2.0}
    text |= {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
    config = {
        "embed_dim": 24,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": vision,
        "text_cfg": text,
    }
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    _open_clip(folder, config, preprocessing)
    tokenizer("[PAD]").save_pretrained(folder)


def mobile_clip(folder: Path) -> None:
    """A convolutional trunk, bilinear pictures without normalisation, as ``apple/MobileCLIP-S1-OpenCLIP``."""
    vision = {"image_size": 64, "timm_model_name": "fastvit_t8", "timm_model_pretrained": False}
    vision |= {"timm_pool": "avg", "timm_proj": "linear"}
    config = {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": vision,
        "text_cfg": {**_TEXT, "no_causal_mask": True},
    }
    preprocessing = {
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
        "interpolation": "bilinear",
        "resize_mode": "shortest",
    }
    _open_clip(folder, config, preprocessing)


def clip(folder: Path) -> None:
    """transformers' CLIP alone, as ``openai/clip-vit-base-patch32``."""
    _clip(folder)
    tokenizer("[PAD]", end="[SEP]").save_pretrained(folder)
    _pictures(
        folder,
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True},
    )


def siglip2(folder: Path) -> None:
    """transformers' SigLIP, as ``google/siglip2-base-patch16-224``: texts are padded to one length."""
    from transformers import SiglipConfig, SiglipModel

    text = {**_SIZES, "vocab_size": 32, "max_position_embeddings": 16, "projection_size": 32}
    vision = {**_SIZES, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    made = tokenizer("[PAD]", end="[SEP]")
    made.model_max_length = 16
    made.save_pretrained(folder)
    said = {
        "size": {"height": 32, "width": 32},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 2,
    }
    _pictures(folder, {**said, "do_center_crop": False}, "SiglipImageProcessor")


def chinese_clip(folder: Path) -> None:
    """A BERT beside a vision transformer, as ``OFA-Sys/chinese-clip-vit-base-patch16``."""
    from transformers import ChineseCLIPConfig, ChineseCLIPModel

    text = {**_SIZES, "vocab_size": 32, "max_position_embeddings": 64}
    config = ChineseCLIPConfig(
        text_config=text, vision_config={**_SIZES, "image_size": 32, "patch_size": 8}, projection_dim=24
    )
    torch.manual_seed(0)
    ChineseCLIPModel(config).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    said = {"size": {"height": 32, "width": 32}, "do_center_crop": False}
    _pictures(folder, said, "ChineseCLIPImageProcessor")


def bge(folder: Path) -> None:
    """The class token at unit length, as ``BAAI/bge-small-en-v1.5``."""
    _bert(folder)
    sentence_folder(folder, ["cls_token"], ["Normalize"], max_seq_length=48, do_lower_case=True)


def e5(folder: Path) -> None:
    """The mean over XLM-RoBERTa, two of whose positions hold no token, as ``intfloat/multilingual-e5-small``."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(**_SIZES, vocab_size=32, max_position_embeddings=34, pad_token_id=1)
    torch.manual_seed(0)
    XLMRobertaModel(config).save_pretrained(folder)
    tokenizer("[UNK]", end="[SEP]", start="[CLS]").save_pretrained(folder)
    sentence_folder(folder, ["mean_tokens"], ["Normalize"], max_seq_length=512)


def gte(folder: Path) -> None:
    """The mean over BERT and nothing behind it, as ``thenlper/gte-small``; the file in shards."""
    _bert(folder, max_shard_size="20KB")
    sentence_folder(folder, ["mean_tokens"], [], max_seq_length=64)


def qwen3(folder: Path, default_prompt: str | None = None) -> None:
    """The last token of a decoder and prompts by name, as ``Qwen/Qwen3-Embedding-0.6B``."""
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    config = Qwen3Config(
        **_SIZES, vocab_size=32, num_key_value_heads=1, head_dim=16, max_position_embeddings=128
    )
    Qwen3Model(config).save_pretrained(folder)
    tokenizer("[PAD]", end="[SEP]", padding_side="left").save_pretrained(folder)
    sentence_folder(folder, ["lasttoken"], ["Normalize"])
    (folder / "sentence_bert_config.json").unlink()
    prompts = {
        "prompts": {"query": "the warm coat with ", "document": ""},
        "default_prompt_name": default_prompt,
    }
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({**prompts, "similarity_fn_name": "cosine"})
    )


def qwen3_with_default_prompt(folder: Path) -> None:
    """The same with a prompt that every text gets."""
    qwen3(folder, "query")


def dense(folder: Path) -> None:
    """A layer behind two poolings, as ``sentence-transformers/LaBSE`` and ``distiluse`` have one."""
    _bert(folder)
    sentence_folder(folder, ["max_tokens", "mean_tokens"], ["Dense", "Normalize"], max_seq_length=64)


_MAKERS = (laion, openai, dfn, siglip2_open_clip, mobile_clip, clip, siglip2, chinese_clip)
_MAKERS += (bge, e5, gte, qwen3, qwen3_with_default_prompt, dense)
LAYOUTS: dict[str, Callable[[Path], None]] = {maker.__name__: maker for maker in _MAKERS}
OPEN_CLIP = ("laion", "openai", "dfn", "siglip2_open_clip", "mobile_clip")
TWO_TOWERS = ("clip", "siglip2", "chinese_clip")


def make(name: str, folder: Path) -> Path:
    """Write one of :data:`LAYOUTS`."""
    folder.mkdir(parents=True, exist_ok=True)
    LAYOUTS[name](folder)
    return folder


def sentence_folder(folder: Path, poolings: list[str], after: list[str], **limits: Any) -> None:
    """What sentence-transformers writes beside a model.

    Args:
        folder: Holds the model.
        poolings: Those of Pooling's switches that are on.
        after: ``Dense`` and ``Normalize``, in order.
        **limits: Of ``sentence_bert_config.json``.
    """
    kinds = ["Transformer", "Pooling", *after]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    switches = {f"pooling_mode_{name}": name in poolings for name in _POOLING}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, **switches})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": None, **limits}))
    if "Dense" in after:
        inside = folder / f"{kinds.index('Dense')}_Dense"
        inside.mkdir(exist_ok=True)
        torch.manual_seed(1)
        layer = torch.nn.Linear(32 * len(poolings), 20)
        save_file(
            {f"linear.{name}": value.detach() for name, value in layer.named_parameters()},
            inside / "model.safetensors",
        )
        said = {"in_features": 32 * len(poolings), "out_features": 20, "bias": True}
        said["activation_function"] = "torch.nn.modules.activation.Tanh"  # type: ignore[assignment]
        (inside / "config.json").write_text(json.dumps(said))


def tokenizer(pad: str, end: str = "", start: str = "", **options: Any) -> Any:
    """A tokenizer of a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    around = [(name, words.index(name)) for name in (start, end) if name]
    core.post_processor = processors.TemplateProcessing(f"{start} $A {end}".strip(), special_tokens=around)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token=pad, eos_token=end or None, **options
    )


def bert_tokenizer() -> Any:
    """BERT's own kind, of a few words."""
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "红", "衣"]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})


def _open_clip(folder: Path, config: dict[str, Any], preprocessing: dict[str, Any] | None = None) -> None:
    import open_clip

    torch.manual_seed(0)
    inside = {name: value for name, value in config.items() if name != "custom_text"}
    model = (open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP)(**inside)
    for name, parameter in model.named_parameters():
        if "mlp.c_proj" in name:
            parameter.data *= 20  # so that another activation shows
    save_file(
        {n: v.contiguous() for n, v in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    said = {
        "model_cfg": config,
        "preprocess_cfg": preprocessing or {"mean": [0.48, 0.46, 0.41], "std": [0.27] * 3},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(said))


def _clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    text = {**_SIZES, "vocab_size": 32, "max_position_embeddings": 16, "eos_token_id": 3}
    vision = {**_SIZES, "image_size": 32, "patch_size": 8}
    torch.manual_seed(2)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)


def _bert(folder: Path, **options: Any) -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig(**_SIZES, vocab_size=32, max_position_embeddings=64)).save_pretrained(
        folder, **options
    )
    bert_tokenizer().save_pretrained(folder)


def _pictures(folder: Path, said: dict[str, Any], kind: str = "CLIPImageProcessor") -> None:
    base = {
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
        "resample": 3,
        "do_resize": True,
    }
    said = {**base, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, **said}
    (folder / "preprocessor_config.json").write_text(json.dumps({**said, "image_processor_type": kind}))
