"""Checkpoints in folders and on the Hub: no pickles, a card that cannot be abused, real huggingface_hub code."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, ModelCard

from mmreason.config import AlignConfig, Config
from mmreason.embed import hub
from mmreason.embed.embedder import Embedder
from mmreason.embed.model import AlignModel
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


class _Hub(BaseHTTPRequestHandler):
    """The four requests that the real client makes to publish a folder; keeps the files it is sent."""

    files: ClassVar[dict[str, bytes]] = {}
    refuse = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        reply: dict[str, object] = {}
        if self.path.endswith("/api/repos/create"):
            reply = {"url": f"http://{self.headers['Host']}/org/name"}
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            reply = {
                "files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            }
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            reply = {
                "commitUrl": f"http://{self.headers['Host']}/org/name/commit/1",
                "commitOid": "1",
                "success": True,
            }
        elif "/validate-yaml" in self.path:
            reply = {"errors": [], "warnings": []}
        self.send_response(403 if self.refuse else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_published_files_make_the_same_embedder(config: AlignConfig, tmp_path: Path) -> None:
    """The real client against a local server that keeps what it is sent."""
    embedder = Embedder.create(config, "cpu", "fp32")
    embedder.model.config = replace(config, text_weights="wheel:minilm")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api = HfApi(endpoint=f"http://127.0.0.1:{server.server_port}", token="hf_test")
    try:
        assert embedder.push_to_hub("org/name", api=api) == f"{api.endpoint}/org/name/commit/1"
        _Hub.refuse = True
        with pytest.raises(DataError, match="hf://org/name: cannot be uploaded"):
            embedder.push_to_hub("org/name", api=api)
    finally:
        _Hub.refuse = False
        server.shutdown()
        server.server_close()
    assert sorted(_Hub.files) == ["README.md", "config.json", "model.safetensors"]
    for name, data in _Hub.files.items():
        (tmp_path / name).write_bytes(data)
    model = AlignModel.from_pretrained(tmp_path)
    assert model.config.text_weights == "wheel:minilm"
    for name, tensor in embedder.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
