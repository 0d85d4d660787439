"""Texts that are no items' are encoded once, and come out as the encoder gives them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders import create_encoder
from mmreason.config import Config
from mmreason.embed import texts
from mmreason.embed.texts import TextFeatures


@pytest.fixture
def copied(tiny_run: Config, tmp_path: Path) -> Config:
    for name in ("align", "features"):
        shutil.copytree(Path(tiny_run.run_dir, name), tmp_path / name)
    return replace(tiny_run, run_dir=str(tmp_path))


def test_vectors_are_the_encoders_of_unit_length(copied: Config) -> None:
    said = ["hidden pocket", "a red hat", "hidden pocket", ""]
    found = TextFeatures(copied)(said)
    encoder = create_encoder(copied.align.text, copied.align.text_weights)
    wanted = encoder.encode(said).numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=2e-3)  # the cache holds float16
    assert (found[0] == found[2]).all() and not np.allclose(found[0], found[1], atol=1e-2)


def test_a_second_run_encodes_nothing_and_loads_no_encoder(
    copied: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [f"phrase {n}" for n in range(5)]
    monkeypatch.setattr(texts, "CHUNK", 2)
    first = TextFeatures(copied)(said)

    def fail(*_: object) -> None:
        raise AssertionError("the encoder is loaded again")

    monkeypatch.setattr(texts, "create_encoder", fail)
    assert (TextFeatures(copied)(said) == first).all()
    with pytest.raises(AssertionError, match="loaded again"):
        TextFeatures(copied)([*said, "new"])


def test_a_word_is_what_the_tokenizer_has_whole(copied: Config) -> None:
    vectors = TextFeatures(copied)
    assert vectors.is_word("a") and not vectors.is_word("a long text of many pieces")
