"""The trained LM as a folder of its own, LoRA added, for programs that load it themselves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from encoders.digest import file_digest, weights_digest
from mmreason.files import atomic_folder, remove, remove_leftovers
from mmreason.reason.model import ReasonModel


def merged_lm(checkpoint: Path, model: ReasonModel, tokenizer: Any) -> Path:
    """The folder of a checkpoint's LM in Hugging Face's layout, made once.

    It lies beside the checkpoint, named by the content of what it is made of; that of an earlier training goes.

    Args:
        checkpoint: Of the reason model.
        model: Read from it, LoRA added.
        tokenizer: The LM's.

    Raises:
        DataError: If it cannot be written (a full disk, say).
    """
    made_of = [
        weights_digest(model.config.lm),
        file_digest(checkpoint / "adapter" / "adapter_model.safetensors"),
        str(next(model.lm.parameters()).dtype),
    ]
    name = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    folder = checkpoint.parent / f"{checkpoint.name}-merged"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        remove_leftovers(folder)
        if not (folder / name).is_dir():
            for other in folder.iterdir():
                if other.is_dir():
                    remove(other)
            with atomic_folder(folder / name) as made:
                model.lm.save_pretrained(made, safe_serialization=True)
                tokenizer.save_pretrained(made)
    return folder / name
