"""Checkpoints in folders and on the Hub: no pickles, a card that cannot be abused, real huggingface_hub code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, ModelCard

from mmreason.align import hub
from mmreason.align.embedder import Embedder
from mmreason.config import AlignConfig, Config
from mmreason.schema import DataError


@pytest.fixture(scope="module")
def config(make_config, tmp_path_factory: pytest.TempPathFactory) -> AlignConfig:  # type: ignore[no-untyped-def]
    made: Config = make_config(tmp_path_factory.mktemp("run"))
    return made.align


def test_saved_and_loaded_gives_the_same_vectors(config: AlignConfig, tmp_path: Path) -> None:
    embedder = Embedder.create(config, "cpu", "fp32")
    embedder.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    again = Embedder.from_pretrained(tmp_path, "cpu", "fp32")
    assert np.array_equal(embedder.encode(["red hoodie"]), again.encode(["red hoodie"]))


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=r"pytorch_model.bin: pickled weights are never loaded"):
        Embedder.from_pretrained(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        Embedder.from_pretrained(tmp_path / "gone")
    with pytest.raises(DataError, match="expected hf://org/name"):
        Embedder.from_pretrained("hf://a/b/c/../d")


def test_the_card_is_valid_and_holds_no_markup_of_the_configuration(config: AlignConfig) -> None:
    from dataclasses import replace

    evil = replace(config, text_weights="x`\n---\n# <script>|[a](http://b)\n```\nmodel: y")
    embedder = Embedder.create(config, "cpu", "fp32")
    embedder.model.config = evil
    text = hub.model_card(embedder.model)
    card = ModelCard(text)
    assert card.data.library_name == "mmreason" and card.data.pipeline_tag == "feature-extraction"
    assert text.count("\n---\n") == 1 and text.count("```") == 4 and "\n# <script>" not in text
    assert not any(line.startswith("model:") for line in text.splitlines())


def test_weights_of_this_machine_are_not_published(config: AlignConfig) -> None:
    with pytest.raises(DataError, match=r"align.text_weights=.* on this machine only"):
        Embedder.create(config, "cpu", "fp32").push_to_hub("org/name")


def test_push_sends_three_files_with_the_real_client(
    config: AlignConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub itself cannot be had here: what the real client is about to send is looked at, then it must fail."""
    sent: dict[str, list[str]] = {}

    class Offline(HfApi):
        def create_repo(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            return None

        def create_commit(self, repo_id, operations, **kwargs):  # type: ignore[no-untyped-def]
            sent[repo_id] = sorted(operation.path_in_repo for operation in operations)
            raise OSError("no network")

    embedder = Embedder.create(config, "cpu", "fp32")
    embedder.model.config.text_weights = "wheel:minilm"
    with pytest.raises(DataError, match=r"hf://org/name: cannot be uploaded \(no network\)"):
        embedder.push_to_hub("org/name", api=Offline())
    assert sent == {"org/name": ["README.md", "config.json", "model.safetensors"]}
