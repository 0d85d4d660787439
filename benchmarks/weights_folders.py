"""Do the encoders read weights folders as their own libraries do?

    python benchmarks/weights_folders.py

Makes folders in the layouts of laion's, OpenAI's and DFN's OpenCLIP, SigLIP 2, MobileCLIP, CLIP, Chinese-CLIP, BGE, E5,
GTE and Qwen3-Embedding repositories with tiny random weights, and compares features of pictures and texts with those
of open_clip, transformers and sentence-transformers loading the same folder. Where sentence-transformers is not
installed, its modules are computed as it documents them, from transformers' model. Bar: every cosine ≥ 0.9999.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_folders import LAYOUTS, OPEN_CLIP, TWO_TOWERS, make

from encoders import create_encoder
from encoders.weights import quiet_transformers

BAR = 0.9999
TEXTS = [
    "a red wool shirt",
    "hoodie",
    "  the soft warm coat with a zip for long runs in rain ",
    "blue " * 40,
    "green cotton hoodie in the rain " * 20,
]


def pictures() -> list[Image.Image]:
    """Smooth noise in three shapes."""
    rng = np.random.default_rng(0)
    shapes = ((96, 96), (120, 80), (70, 140))
    small = [Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)) for _ in shapes]
    return [one.resize(shape, Image.Resampling.BICUBIC) for one, shape in zip(small, shapes, strict=True)]


def compare(name: str, folder: Path) -> dict[str, float]:
    """Kind of input → the smallest cosine between our features and the library's."""
    if name in OPEN_CLIP:
        return _with_open_clip(folder)
    return _with_transformers(folder) if name in TWO_TOWERS else {"text": _with_sentence_transformers(folder)}


@torch.no_grad()
def _with_open_clip(folder: Path) -> dict[str, float]:
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    image = torch.stack([transform(one) for one in pictures()])
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    ours = (
        create_encoder("openclip:ViT-B-32", str(folder)),
        create_encoder("openclip-text:ViT-B-32", str(folder)),
    )
    return {
        "image": _cosine(ours[0].encode(pictures()), model.encode_image(image)),
        "text": _cosine(ours[1].encode(TEXTS), model.encode_text(tokens)),
    }


@torch.no_grad()
def _with_transformers(folder: Path) -> dict[str, float]:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model: Any = AutoModel.from_pretrained(folder).eval()
    image = AutoImageProcessor.from_pretrained(folder)(pictures(), return_tensors="pt")
    siglip = model.config.model_type == "siglip"
    padding = {"padding": "max_length" if siglip else True, "truncation": True, "return_tensors": "pt"}
    limit = model.config.text_config.max_position_embeddings
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, max_length=limit, **padding)
    given = {"input_ids": tokens["input_ids"]} | (
        {} if siglip else {"attention_mask": tokens["attention_mask"]}
    )
    ours = create_encoder("hf-image:x", str(folder)), create_encoder("hf-text:x", str(folder))
    return {
        "image": _cosine(ours[0].encode(pictures()), _pooled(model.get_image_features(**image))),
        "text": _cosine(ours[1].encode(TEXTS), _pooled(model.get_text_features(**given))),
    }


@torch.no_grad()
def _with_sentence_transformers(folder: Path) -> float:
    if find_spec("sentence_transformers"):
        from sentence_transformers import SentenceTransformer

        peer: Any = SentenceTransformer(str(folder))
        # By itself it would read past the positions of a RoBERTa.
        peer.max_seq_length = min(peer.max_seq_length, _positions(peer[0].auto_model.config))
        theirs = torch.tensor(peer.encode(TEXTS))
    else:
        theirs = torch.stack([_sentence(folder, text) for text in TEXTS])
    return _cosine(create_encoder("hf-text:x", str(folder)).encode(TEXTS), theirs)


def _positions(config: Any) -> int:
    """Tokens that a model has positions for; two of a RoBERTa's hold none."""
    return int(config.max_position_embeddings) - (2 if "roberta" in config.model_type else 0)


def _sentence(folder: Path, text: str) -> torch.Tensor:
    """One text through the modules of the folder, one by one, as sentence-transformers documents them."""
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    def said(name: str) -> dict[str, Any]:
        return json.loads((folder / name).read_text()) if (folder / name).exists() else {}

    prompts = said("config_sentence_transformers.json")
    text = prompts.get("prompts", {}).get(prompts.get("default_prompt_name"), "") + text.strip()
    text = text.lower() if said("sentence_bert_config.json").get("do_lower_case") else text
    model: Any = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    positions = _positions(model.config)
    limit = min(said("sentence_bert_config.json").get("max_seq_length") or positions, positions)
    ids = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")["input_ids"]
    hidden = model(input_ids=ids).last_hidden_state[0]
    pooling = said("1_Pooling/config.json")
    parts = {
        "cls_token": hidden[0],
        "max_tokens": hidden.amax(0),
        "mean_tokens": hidden.mean(0),
        "lasttoken": hidden[-1],
    }
    vector = torch.cat([part for name, part in parts.items() if pooling.get(f"pooling_mode_{name}")])
    for module in json.loads((folder / "modules.json").read_text())[2:]:
        if module["type"].endswith("Dense"):
            state = load_file(folder / module["path"] / "model.safetensors")
            vector = torch.tanh(state["linear.weight"] @ vector + state["linear.bias"])
        else:
            vector = torch.nn.functional.normalize(vector, dim=0)
    return vector


def _pooled(output: Any) -> torch.Tensor:
    return getattr(output, "pooler_output", output)


def _cosine(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} and {tuple(theirs.shape)}"
    return float(torch.cosine_similarity(ours, theirs).min())


def main() -> int:
    """Print the smallest cosines of each folder, and the bar."""
    torch.manual_seed(0)
    if not find_spec("sentence_transformers"):
        print("sentence-transformers is not installed: its modules are computed from transformers")
    right = 0
    for name in LAYOUTS:
        with tempfile.TemporaryDirectory() as parent, quiet_transformers():
            found = compare(name, make(name, Path(parent, name)))
        right += min(found.values()) >= BAR
        print(f"{name:26}" + "".join(f"  {kind} {value:.6f}" for kind, value in found.items()), flush=True)
    print(f"weights folders: {right}/{len(LAYOUTS)} (bar all)")
    return 0 if right == len(LAYOUTS) else 1


if __name__ == "__main__":
    sys.exit(main())
