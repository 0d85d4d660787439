"""Tars: what is written is what is read, and a header that lies does no harm."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.shards.tars import SampleError, TarReader, write_tar

KEYS = st.text(st.characters(exclude_characters="./\x00", exclude_categories=["Cs"]), min_size=1, max_size=12)
MEMBERS = st.dictionaries(st.sampled_from(["json", "0.jpg", "mp4"]), st.binary(max_size=40), min_size=1)


@settings(max_examples=60, deadline=None)
@given(samples=st.dictionaries(KEYS, MEMBERS, max_size=8))
def test_what_is_written_is_read(
    samples: dict[str, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    with path.open("wb") as file:
        write_tar(file, samples.items())
    with TarReader(path, len(samples), path.stat().st_size) as reader:
        read = [reader.read(number) for number in range(len(samples))]
        assert not reader.unplanned
        with pytest.raises(SampleError):
            reader.read(len(samples))
    assert read == [{"__key__": key, **members} for key, members in samples.items()]


@pytest.mark.parametrize("owner", ["crc32:ffffffffffffffffffff", "crc32:-0000001", "crc32:zz", "someone"])
def test_an_owner_that_is_no_checksum_is_none(owner: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("k.txt")
        info.size, info.uname = 3, owner
        tar.addfile(info, io.BytesIO(b"abc"))
    with TarReader(path, 1, path.stat().st_size) as reader:
        assert reader.read(0) == {"__key__": "k", "txt": b"abc"}


def test_a_size_beyond_64_bits_costs_its_sample_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("k.txt")
    info.size = 1 << 80
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with TarReader(path, 1, path.stat().st_size) as reader, pytest.raises(SampleError):
        reader.read(0)
