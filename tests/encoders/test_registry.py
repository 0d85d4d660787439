from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import encoders
from encoders import Encoder, create_encoder, list_encoders


def test_a_spec_makes_its_encoder_ready_for_use() -> None:
    encoder = create_encoder("timm:test_resnet")
    assert isinstance(encoder, Encoder)
    assert encoder.modality == "image"
    assert not encoder.training


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("tim:resnet18", "timm, openclip"),
        ("timm:", "<kind>:<name>"),
        ("resnet18", "<kind>:<name>"),
        ("timm:resnet-18", "did you mean.*resnet18"),
        ("openclip:ViT-B32", "did you mean.*ViT-B-32"),
        ("openclip-text:zzzzzz", "list_encoders"),
    ],
)
def test_unknown_names_get_one_line_with_near_ones(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        create_encoder(spec)
    assert "\n" not in str(caught.value)


def test_listing_matches_patterns_and_lists_what_can_be_made() -> None:
    assert list_encoders("timm:tf_efficientnet_lite0") == ["timm:tf_efficientnet_lite0"]
    assert list_encoders("openclip:ViT-B-32") == ["openclip:ViT-B-32"]
    assert "hf-text:*" in list_encoders()
    assert list_encoders("*tf_*_lite0") == ["timm:tf_efficientnet_lite0"]
    assert list_encoders("nothing:*") == []


def test_importing_the_package_imports_no_torch() -> None:
    modules = "encoders.media.pictures, encoders.media.frames, encoders.weights"
    script = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_public_names_are_there() -> None:
    for name in encoders.__all__:
        assert getattr(encoders, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        encoders.nothing  # noqa: B018


def test_random_weights_follow_the_seed() -> None:
    picture = torch.rand(1, 3, 160, 160)
    features = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        features.append(create_encoder("timm:test_resnet")(picture))
    assert torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])


def test_an_installed_package_adds_a_kind_of_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "tiny_encoder-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-encoder\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmreason.encoders]\ntiny = tiny_encoder:Tiny\n")
    (tmp_path / "tiny_encoder.py").write_text(
        "from encoders.image import TimmEncoder\n\n\nclass Tiny(TimmEncoder):\n"
        "    @classmethod\n    def names(cls):\n        return ['test_resnet']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list_encoders("tiny:*") == ["tiny:test_resnet"]
    assert type(create_encoder("tiny:test_resnet")).__name__ == "Tiny"
    with pytest.raises(ValueError, match=r"kind of timm, .*, tiny$"):
        create_encoder("tim:resnet18")
