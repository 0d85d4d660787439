"""What a picture shows: a linear probe per hidden attribute over the frozen tower's features.

Verification needs evidence for a colour that no text tells; at inference the only witness is the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreason.checkpoint import load_into, load_tensors, read_json, save_tensors, write_json
from mmreason.schema import Item
from mmreason.store.store import EmbeddingStore

MIN_ITEMS = 3  # a value seen on fewer training items is not learned


class PictureProbe(nn.Module):
    """Multinomial logistic regression from picture (or video) features to each hidden attribute's values.

    Args:
        values: Attribute → its values, lower-case.
        features: Length F of a feature.
    """

    def __init__(self, values: dict[str, list[str]], features: int) -> None:
        super().__init__()
        self.values = values
        self.features = features
        self.linear = nn.ModuleDict({name: nn.Linear(features, len(v)) for name, v in values.items()})

    @classmethod
    def fit(
        cls, items: Iterable[Item], store: EmbeddingStore, steps: int = 300, seed: int = 0
    ) -> PictureProbe:
        """Train on the training items' hidden attributes; a few seconds."""
        items = [i for i in items if i.split == "train" and i.hidden and i.id in store]
        counts: dict[str, Counter[str]] = {}
        for item in items:
            for name, values in item.hidden.items():
                counts.setdefault(name, Counter()).update(v.lower() for v in values)
        known = {n: sorted(v for v, k in c.items() if k >= MIN_ITEMS) for n, c in counts.items()}
        probe = cls({n: v for n, v in known.items() if len(v) > 1}, store.dims["image_features"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for layer in probe.linear.values():
                cast(nn.Linear, layer).reset_parameters()
            for name, labels in probe.values.items():
                rows = [i for i in items if i.hidden.get(name) and i.hidden[name][0].lower() in labels]
                x = picture_features(store, [i.id for i in rows])
                y = torch.tensor([labels.index(i.hidden[name][0].lower()) for i in rows])
                optimizer = torch.optim.AdamW(probe.linear[name].parameters(), lr=1e-3, weight_decay=1.0)
                for _ in range(steps):
                    loss = F.cross_entropy(probe.linear[name](F.dropout(x, 0.5)), y)
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
        return probe.eval()

    @torch.no_grad()
    def predict(self, features: Tensor) -> dict[str, Tensor]:
        """(B, F) standardised features to attribute → (B, values) probabilities."""
        return {name: layer(features).softmax(-1) for name, layer in self.linear.items()}

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        save_tensors(folder / "model.safetensors", self.state_dict())
        write_json(folder / "config.json", {"values": self.values, "features": self.features})

    @classmethod
    def from_pretrained(cls, folder: Path) -> PictureProbe:
        """Read what :meth:`save_pretrained` wrote."""
        saved = read_json(folder / "config.json")
        probe = cls(saved["values"], saved["features"])
        load_into(probe, load_tensors(folder / "model.safetensors"), folder / "model.safetensors")
        return probe.eval()


def picture_features(store: EmbeddingStore, ids: list[str]) -> Tensor:
    """(N, F): the picture's features, or the video's (same tower) where there is no picture."""
    image = torch.as_tensor(store.get("image_features", ids), dtype=torch.float32)
    video = torch.as_tensor(store.get("video_features", ids), dtype=torch.float32)
    has_image = torch.as_tensor(store.mask("image", ids).copy())
    return torch.where(has_image[:, None], image, video)
