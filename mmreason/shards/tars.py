"""WebDataset tars: written with a checksum a member, read by place.

The checksum (CRC-32) stands in the header's user name (``crc32:1a2b3c4d``), which every tar reader ignores, so
that a flipped bit is noticed wherever it is. Tars without one are read unchecked.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self, cast

import numpy as np

from mmreason.schema import DataError

CHECKSUM = "crc32:"
_FAR = 1 << 62  # a place or size that no file has; a damaged header may say more than 64 bits hold

Sample = tuple[str, dict[str, bytes]]
"""Key and, in order, extension → bytes."""


class Written(NamedTuple):
    """What :func:`write_tar` wrote: samples, bytes and the sha256 in hex."""

    samples: int
    bytes: int
    sha256: str


def write_tar(file: BinaryIO, samples: Iterable[Sample]) -> Written:
    """Write samples to an open file; the same samples give the same bytes."""
    hashed = _Hashed(file)
    count = 0
    # TarInfo's owner and time are 0, so same input, same bytes; GNU headers fit keys of any length.
    with tarfile.open(fileobj=cast(BinaryIO, hashed), mode="w", format=tarfile.GNU_FORMAT) as tar:
        for key, members in samples:
            count += 1
            for extension, data in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size, info.mode = len(data), 0o644
                info.uname = f"{CHECKSUM}{zlib.crc32(data):08x}"
                tar.addfile(info, io.BytesIO(data))
            tar.members = []  # type: ignore[attr-defined]  # else it keeps every header
    return Written(count, hashed.size, hashed.sha256.hexdigest())


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.size


class SampleError(DataError):
    """A sample that cannot be used; ``cause`` is what the loader counts it under."""

    def __init__(self, key: str, cause: str) -> None:
        super().__init__(f"sample {key!r}: {cause}; run pack again")
        self.cause = cause


class Member(NamedTuple):
    """Where a member's bytes lie, and their CRC-32 or -1."""

    offset: int
    size: int
    crc32: int


def _crc32(owner: str) -> int:
    """The checksum in a header; -1 if it has none."""
    found = re.fullmatch(rf"{CHECKSUM}([0-9a-f]{{8}})", owner)
    return int(found[1], 16) if found else -1


class _Samples:
    """Where the members of a tar's samples lie, in some 30 bytes a member: dozens of tars are open at a time."""

    def __init__(self, found: Mapping[str, Mapping[str, Member]]) -> None:
        self._keys = "\n".join(found).encode("utf-8", "surrogateescape")
        self._ends = np.cumsum([len(key.encode("utf-8", "surrogateescape")) + 1 for key in found])
        self._extensions = [*dict.fromkeys(extension for members in found.values() for extension in members)]
        number = {extension: place for place, extension in enumerate(self._extensions)}
        self._starts = np.cumsum([0, *(len(members) for members in found.values())])
        rows = [(number[e], *m) for members in found.values() for e, m in members.items()]
        self._members = np.array(rows, dtype=np.int64).reshape(-1, 4)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> tuple[str, dict[str, Member]]:
        """The key of a sample and its members by extension."""
        start = int(self._ends[number - 1]) if number else 0
        key = self._keys[start : int(self._ends[number]) - 1].decode("utf-8", "surrogateescape")
        rows = self._members[self._starts[number] : self._starts[number + 1]].tolist()
        return key, {self._extensions[extension]: Member(*place) for extension, *place in rows}


class TarReader:
    """The samples of one tar, by number in the order of their first members.

    Members of a sample need not be neighbours. Only regular files count, a link never does; nothing is ever written
    to disk. After a broken header the next good one is looked for.

    Args:
        path: A tar, not compressed.
        expected: Samples that the manifest says.
        most_bytes: A longer file is not looked into, so that no file can keep the reader busy for ever.

    Attributes:
        unplanned: Causes of what lies in the tar beyond the expected samples, one a sample or doubled member.
    """

    def __init__(self, path: Path, expected: int, most_bytes: int) -> None:
        self._file: BinaryIO | None = None
        self._name, self._size = path.name, 0
        self._samples = _Samples({})
        bad, self._cause = [], "samples missing"
        try:
            if path.is_file():  # a pipe would wait for ever
                self._file = path.open("rb")
                self._size = os.fstat(self._file.fileno()).st_size
                bad = self._find_samples(self._size, most_bytes)
            else:
                self._cause = "shard missing"
        except OSError:
            self._cause = "shard unreadable"
        missing = max(0, expected - len(self._samples))
        self._bad = bad[:missing]  # a bad name stands for a sample that should have been there
        extra = ["sample not in the manifest"] * (len(self._samples) - expected)
        self.unplanned = [*bad[missing:], *extra]

    def read(self, number: int, only: str = "") -> dict[str, bytes | str]:
        """A sample as webdataset gives it: ``__key__`` and extension → bytes.

        Args:
            number: Of the sample.
            only: Extension of the one member to read; empty for all.

        Raises:
            SampleError: With the cause.
        """
        key, members = self._sample(number)
        sample: dict[str, bytes | str] = {"__key__": key}
        for extension, member in members.items():
            if not only or extension == only:
                sample[extension] = self._bytes(key, member)
        return sample

    def read_latest(self, number: int, extension: str) -> bytes | None:
        """A member of a sample, or of the nearest sample before it that has one; None if there is none.

        Args:
            number: Of the sample.
            extension: Of the member.

        Raises:
            SampleError: If the member is broken.
        """
        for before in range(min(number, len(self._samples) - 1), -1, -1):
            key, members = self._samples[before]
            if extension in members:
                return self._bytes(key, members[extension])
        return None

    def _sample(self, number: int) -> tuple[str, dict[str, Member]]:
        if number < len(self._samples):
            return self._samples[number]
        place = number - len(self._samples)
        cause = self._bad[place] if place < len(self._bad) else self._cause
        raise SampleError(f"{self._name} number {number}", cause)

    def _bytes(self, key: str, member: Member) -> bytes:
        assert self._file is not None
        if (
            member.offset + member.size > self._size
        ):  # a header that lies must not make us ask for so much memory
            raise SampleError(key, "broken tar")
        try:
            data = os.pread(self._file.fileno(), member.size, member.offset)
        except OSError:
            raise SampleError(key, "shard unreadable") from None
        if len(data) != member.size:
            raise SampleError(key, "broken tar")
        if member.crc32 >= 0 and zlib.crc32(data) != member.crc32:
            raise SampleError(key, "bytes differ from the packed ones")
        return data

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _find_samples(self, size: int, most: int) -> list[str]:
        """Fill the list of samples; returns the causes of what else is there."""
        assert self._file is not None
        if size > most:
            self._cause = "shard longer than packed"
            return []
        if os.pread(self._file.fileno(), 1024, max(0, size - 1024)) != bytes(1024):  # how every tar ends
            self._cause = "broken tar"
        found: dict[str, dict[str, Member]] = {}
        doubled: set[str] = set()
        bad = []
        for info in self._headers():
            folder, _, name = info.name.rpartition("/")
            key, _, extension = name.partition(".")  # as webdataset does
            if not info.isreg() or not key or not extension:
                continue
            if folder:
                bad.append("unsafe name")
                continue
            members = found.setdefault(key, {})
            if extension in members:
                doubled.add(key)
                continue
            members[extension] = Member(min(info.offset_data, _FAR), min(info.size, _FAR), _crc32(info.uname))
        self._samples = _Samples(found)
        return bad + ["duplicate key"] * len(doubled)

    def _headers(self) -> Iterator[tarfile.TarInfo]:
        assert self._file is not None
        try:
            with tarfile.open(fileobj=self._file, mode="r:", ignore_zeros=True) as tar:
                while (info := tar.next()) is not None:
                    yield info
                    tar.members = []  # type: ignore[attr-defined]
        except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError, MemoryError):
            self._cause = "broken tar"
