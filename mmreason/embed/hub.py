"""Alignment checkpoints in folders and on the Hugging Face Hub, with a model card written for them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders import WeightsError
from encoders.weights import resolve_weights
from mmreason.config import AlignConfig
from mmreason.files import atomic_write
from mmreason.schema import DataError

if TYPE_CHECKING:
    from mmreason.embed.model import AlignModel

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy")


def checkpoint_folder(source: str | Path) -> Path:
    """The folder of a checkpoint, fetched first if it is on the Hub; only safetensors and texts are fetched.

    Args:
        source: A folder, or ``hf://org/name[@revision]``.

    Raises:
        DataError: If it cannot be fetched, is not there, or holds pickled weights only.
    """
    if str(source).startswith("hf://"):
        try:
            folder = resolve_weights(str(source))
        except WeightsError as error:
            raise DataError(str(error)) from None
    else:
        folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"{source}: no such folder; give a checkpoint's folder or hf://org/name")
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles and not (folder / "model.safetensors").is_file():
        raise DataError(
            f"{folder / pickles[0]}: pickled weights are never loaded, they could run code; "
            "save model.safetensors instead"
        )
    return folder


def check_public(config: AlignConfig, repo: str) -> None:
    """Refuse to publish a checkpoint whose encoders nobody else could load.

    Raises:
        DataError: If an encoder's weights are on this machine only.
    """
    for name in ("image_weights", "text_weights"):
        spec = getattr(config, name)
        if spec and not spec.startswith(("wheel:", "hf://")):
            raise DataError(
                f"align.{name}={spec} is on this machine only, so nobody else could load {repo}; "
                "publish it and name it as hf://org/name"
            )


def upload(
    folder: Path, repo: str, *, private: bool = False, revision: str | None = None, api: Any = None
) -> str:
    """Upload a checkpoint's files in one commit; see :meth:`mmreason.embed.embedder.Embedder.push_to_hub`."""
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = api or HfApi(library_name="mmreason")
    operations = [CommitOperationAdd(file.name, file) for file in sorted(folder.iterdir())]
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.create_commit(
            repo, operations, revision=revision, commit_message="Upload alignment model"
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"hf://{repo}: cannot be uploaded ({first}); check the name and your login") from None
    return commit.commit_url


def write_card(folder: Path, model: AlignModel) -> None:
    """Write ``README.md``: what the model is, its sizes and how to load it."""
    with atomic_write(folder / "README.md") as file:
        file.write(model_card(model).encode())


def model_card(model: AlignModel) -> str:
    """The card's text.

    Values of the configuration are quoted as code and as JSON strings, so that none of them can add a heading, a
    link or a line of metadata.
    """
    config = model.config
    rows = [
        ("image encoder", config.image),
        ("image weights", config.image_weights or "random, from seed 0"),
        ("image feature", config.image_feature),
        ("text encoder", config.text),
        ("text weights", config.text_weights or "random, from seed 0"),
        ("frames a video", f"{config.video.frames} ({config.video.sampling}, {config.video.pooling})"),
        ("shared dimensions", config.dim),
        *((f"{name} feature length", size) for name, size in model.dims.items()),
    ]
    settings = json.dumps(asdict(config), indent=1, ensure_ascii=True, default=str).replace("`", "\\u0060")
    table = "\n".join(f"| {name} | {_code(value)} |" for name, value in rows)
    return f"""---
library_name: mmreason
pipeline_tag: feature-extraction
tags:
- mmreason
- multimodal
- recommendation
---

# Embeddings of pictures, videos and texts in one space

Alignment heads of MMReason over frozen encoders: one unit vector an item,
whatever mixture of pictures, video and text it has.

| | |
| --- | --- |
{table}

## Use

```python
from mmreason import Embedder

embedder = Embedder.from_pretrained("hf://<this repository>")  # or a local folder
vectors = embedder.encode(["red hoodie", "photo.jpg"])  # (2, {int(config.dim)}) float32, unit length
print(embedder.similarity(vectors[0], vectors[1]))
```

`model.safetensors` holds the heads; the encoders are named in `config.json` and fetched from there. No file of this
repository is a pickle, and none runs code.

## Settings

```json
{settings}
```
"""


def _code(value: Any) -> str:
    """Text as inline code in a table cell."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    return f"`{text}`"
