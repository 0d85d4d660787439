"""What a picture shows: a linear probe per hidden attribute over the frozen tower's features.

Verification needs evidence for a colour that no text tells; at inference the only witness is the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmreason.checkpoint import load_into, load_tensors, save_tensors
from mmreason.files import read_json, write_json
from mmreason.schema import Item
from mmreason.store.store import EmbeddingStore

MIN_ITEMS = 3  # a value seen on fewer training items is not learned
INVERSE_PENALTY = 0.1  # scikit-learn's C, chosen on the validation items of the quickstart


class PictureProbe(nn.Module):
    """Multinomial logistic regression from picture (or video) features to each hidden attribute's values.

    Args:
        values: Attribute → its values, lower-case; none if there is nothing to read or no picture to read it from.
        features: Length F of a feature; 0 if no item has a picture or a video.
    """

    def __init__(self, values: dict[str, list[str]], features: int) -> None:
        super().__init__()
        self.values = values
        self.features = features
        self.linear = nn.ModuleDict({name: nn.Linear(features, len(v)) for name, v in values.items()})

    @classmethod
    def fit(cls, items: Iterable[Item], store: EmbeddingStore) -> PictureProbe:
        """Fit on the training items whose hidden attributes are known and whose picture or video is embedded."""
        from sklearn.linear_model import LogisticRegression

        seen = [i for i in items if i.split == "train" and i.hidden and i.id in store]
        shown = has_picture(store, [i.id for i in seen])
        seen = [item for item, is_shown in zip(seen, shown.tolist(), strict=True) if is_shown]
        counts: dict[str, Counter[str]] = {}
        for item in seen:
            for name, values in item.hidden.items():
                counts.setdefault(name, Counter()).update(v.lower() for v in values[:1])
        known = {n: sorted(v for v, k in c.items() if k >= MIN_ITEMS) for n, c in counts.items()}
        probe = cls({n: v for n, v in known.items() if len(v) > 1}, picture_size(store))
        for name, labels in probe.values.items():
            rows = [i for i in seen if i.hidden.get(name) and i.hidden[name][0].lower() in labels]
            fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000)
            fitted.fit(
                picture_features(store, [i.id for i in rows]).numpy(),
                [labels.index(i.hidden[name][0].lower()) for i in rows],
            )
            probe._set(name, fitted)
        return probe.eval()

    @torch.no_grad()
    def _set(self, name: str, fitted: Any) -> None:
        """Take over scikit-learn's weights; for two values it has one row, the second's against the first's."""
        weight, bias = (torch.as_tensor(x, dtype=torch.float32) for x in (fitted.coef_, fitted.intercept_))
        if len(weight) == 1:
            weight, bias = torch.cat([0 * weight, weight]), torch.cat([0 * bias, bias])
        layer = cast(nn.Linear, self.linear[name])
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)

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


def picture_size(store: Any) -> int:
    """Length of a picture's features, or a video's where no item has a picture; 0 where none has either."""
    return next((store.dims[f"{m}_features"] for m in seen_modalities(store)), 0)


def has_picture(store: Any, ids: list[str]) -> Tensor:
    """(N,) bool: is there a picture or a video."""
    masks = [torch.as_tensor(store.mask(m, ids).copy()) for m in seen_modalities(store)]
    return torch.stack(masks).any(0) if masks else torch.zeros(len(ids), dtype=torch.bool)


def picture_features(store: Any, ids: list[str]) -> Tensor:
    """(N, F): the picture's features, or the video's (same tower) where there is no picture; zeros without either.

    Args:
        store: An embedding store, or anything with its ``dims``, ``get`` and ``mask``.
        ids: Items in it.
    """
    features = torch.zeros(len(ids), picture_size(store))
    for modality in reversed(seen_modalities(store)):  # the picture's are put over the video's
        there = torch.as_tensor(store.mask(modality, ids).copy())
        values = torch.as_tensor(store.get(f"{modality}_features", ids), dtype=torch.float32)
        features = torch.where(there[:, None], values, features)
    return features


def seen_modalities(store: Any) -> list[str]:
    """Modalities of the picture tower that the store has features of, pictures first."""
    return [m for m in ("image", "video") if f"{m}_features" in store.dims]
