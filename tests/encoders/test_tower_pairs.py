"""Only towers of one trained model are a pair."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_folders import TWO_TOWERS, make

from encoders import create_encoder
from encoders.pairs import is_pair


@pytest.mark.parametrize("name", TWO_TOWERS)
def test_a_folder_of_two_towers_is_a_pair(name: str, tmp_path: Path) -> None:
    folder = str(make(name, tmp_path))
    assert is_pair("hf-image:any", folder, "hf-text:other", folder)
    sizes = {create_encoder(f"{kind}:x", folder).dim for kind in ("hf-image", "hf-text")}
    assert len(sizes) == 1, "their features can be compared"


def test_openclip_towers_are_a_pair_by_name_and_weights(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert is_pair("openclip:ViT-B-32", folder, "openclip-text:ViT-B-32", folder)
    assert not is_pair("openclip:ViT-B-32", folder, "openclip-text:ViT-L-14", folder)


def test_towers_of_two_models_are_none(tmp_path: Path) -> None:
    pair, text, other = (str(make(name, tmp_path / name)) for name in ("clip", "bge", "siglip2"))
    assert not is_pair("hf-image:a", pair, "hf-text:a", other)
    assert not is_pair("hf-image:a", text, "hf-text:a", text), "a text model alone"
    assert not is_pair("hf-image:a", "", "hf-text:a", ""), "random weights"
    assert not is_pair("hf-image:a", pair, "openclip-text:ViT-B-32", pair)
    assert not is_pair("timm:resnet18", pair, "hf-text:a", pair)
