"""What the index files of an embedding store say, and the rows of its parts; see :mod:`mmreason.store.store`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmreason.schema import DataError
from mmreason.store.ids import Ids

VERSION = 1
GONE = ""  # content hash of a row that says that its item is no longer there
Index = dict[str, Any]


class CorruptIndex(DataError):
    """An index file that holds no index."""


def index_files(folder: Path) -> list[Path]:
    """The index files of a store, one a writer."""
    name = re.compile(r"index(-\d+-of-\d+)?\.json")
    return sorted(path for path in folder.glob("index*.json") if name.fullmatch(path.name))


def sorted_parts(indexes: Iterable[Index]) -> list[dict[str, Any]]:
    """All parts, later ones last: a writer numbers on from all that it found."""
    parts = [part for index in indexes for part in index["parts"]]
    return sorted(parts, key=lambda part: (number_of(part["name"]), part["name"]))


def ids_of(tables: Sequence[pa.Table]) -> Ids:
    """The ids of all parts but those of items that are gone."""
    gone = [pc.equal(table["hash"], GONE).to_numpy() for table in tables]
    return Ids([table["id"] for table in tables], np.concatenate(gone) if gone else None)


def number_of(part: str) -> int:
    return int(part.split("-")[1])


def read_index(path: Path) -> Index:
    try:
        index = json.loads(path.read_bytes())
        if index["version"] != VERSION:
            raise DataError(
                f"{path}: version {index['version']} is not {VERSION}; remove the store and embed again"
            )
        shapes = {name: (int(a["dim"]), np.dtype(a["dtype"])) for name, a in index["arrays"].items()}
        parts = [(str(part["name"]), int(part["rows"])) for part in index["parts"]]
        safe = all(Path(name).name == name for name in shapes)
        safe = safe and all(re.fullmatch(r"part-\d+(-\d+-of-\d+)?", name) for name, _ in parts)
        if not safe or not isinstance(index["meta"], dict) or not isinstance(index["masks"], list):
            raise ValueError("not an index")
    except FileNotFoundError:
        raise DataError(f"{path}: no embedding store here; run embed first") from None
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); mend the disk or its permissions"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptIndex(f"{path}: cannot be read ({error}); remove the store and embed again") from None
    return index


def checksums(folder: Path) -> dict[str, int]:
    """The CRC-32 of each file of a part, as its index keeps them."""
    return {path.name: crc32(path.read_bytes()) for path in sorted(folder.iterdir())}


def check_file(folder: Path, part: Mapping[str, Any], name: str) -> None:
    """Compare a file of a part with its checksum, once while it stays the same; 1 s for about 1 GB.

    Raises:
        DataError: If it is damaged.
    """
    told, path = part.get("crc32", {}).get(name), folder / part["name"] / name
    if (
        told is None or not path.is_file()
    ):  # made before there were checksums; what reads it says what is missing
        return
    stat = path.stat()
    if _crc32_of(path, stat.st_size, stat.st_mtime_ns) != told:
        raise DataError(
            f"{path}: cannot be read (damaged: its checksum is not the index's); remove the store and embed again"
        )


@lru_cache(maxsize=1 << 16)
def _crc32_of(path: Path, *_: int) -> int:
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            found = crc32(block, found)
    return found


def read_rows(store: Path, part: Mapping[str, Any]) -> pa.Table:
    """The ids, hashes and masks of a part."""
    path, rows = store / part["name"] / "rows.parquet", part["rows"]
    check_file(store, part, path.name)
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove the store and embed again") from None
    if table.num_rows != rows:
        raise DataError(f"{path}: {table.num_rows} rows, but the index says {rows}; embed again")
    return table
