from __future__ import annotations

import random

import torch

from encoders import Encoder
from encoders.text import padded_length
from mmreason.embed.features import FeatureReader


class Lengths(Encoder):
    """Gives a text's length, and notes the shapes of its batches."""

    modality = "text"
    dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.shapes: list[tuple[int, int]] = []

    def preprocess(self, raw: str) -> torch.Tensor:
        return torch.ones(len(raw))

    def collate(self, samples: list[torch.Tensor]) -> torch.Tensor:
        self.shapes.append((len(samples), padded_length(max(len(sample) for sample in samples))))
        return torch.tensor([[float(len(sample))] for sample in samples])

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch


def test_shapes_of_batches_stay_few_however_many_texts_come() -> None:
    rng, encoder = random.Random(0), Lengths()
    with FeatureReader({"text": encoder}) as reader:
        for _ in range(40):
            said = ["x" * rng.randint(5, 250) for _ in range(rng.randint(1, 700))]
            found = reader.start({"text": said}).result()["text"]
            assert found.values.flatten().tolist() == [len(text) for text in said]
        budget = reader.tokens
    assert all(rows * length <= budget for rows, length in encoder.shapes)
    assert sum(rows for rows, _ in encoder.shapes) > 10_000
    full = {length: budget // length for _, length in encoder.shapes}
    assert all(rows == full[length] or rows.bit_count() == 1 for rows, length in encoder.shapes)
    assert len({length for _, length in encoder.shapes}) <= 48


def test_a_batch_size_of_the_user_is_kept() -> None:
    encoder = Lengths()
    with FeatureReader({"text": encoder}, batch_size=1) as reader:
        reader.start({"text": ["hat"] * 100}).result()
    assert sorted(encoder.shapes, reverse=True) == [(32, 3)] * 3 + [(4, 3)]
