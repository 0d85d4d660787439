"""The files of a part of an embedding store, before an index lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.files import atomic_folder
from mmreason.schema import DataError
from mmreason.store.index import checksums
from mmreason.store.standardised import InputKeys


@dataclass(frozen=True)
class Part:
    """What an index says of a part, as JSON values.

    Attributes:
        rows: How many.
        crc32: File → its CRC-32.
        arrays: Array → ``dim`` and ``dtype``.
        masks: Names of the masks.
    """

    rows: int
    crc32: dict[str, int]
    arrays: dict[str, Any]
    masks: list[str]


def make_part(
    folder: Path,
    ids: Sequence[str],
    hashes: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    inputs: Mapping[str, InputKeys] | None = None,
) -> Part:
    """Write the files of a part into a folder, whole or not at all; the arguments are those of ``write_part``.

    Raises:
        DataError: If they cannot be written.
    """
    columns = {"id": pa.array(ids, pa.string()), "hash": pa.array(hashes, pa.string())}
    columns |= {f"has_{mask}": pa.array(np.asarray(masks[mask])) for mask in sorted(masks)}
    with atomic_folder(folder) as made:
        for name, array in arrays.items():
            np.save(made / f"{name}.npy", np.ascontiguousarray(array))
        for modality, keys in (inputs or {}).items():
            keys.save(made, modality)
        pq.write_table(pa.table(columns), made / "rows.parquet")
    return Part(len(ids), checksums(folder), shape_of(arrays), sorted(masks))


def shape_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Array → ``dim`` and ``dtype``."""
    return {name: {"dim": int(array.shape[1]), "dtype": array.dtype.name} for name, array in arrays.items()}


def check_part(
    ids: Sequence[str],
    hashes: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> None:
    """Look at what a part is to hold.

    Raises:
        DataError: If a vector is not finite.
        ValueError: If the shapes do not fit each other.
    """
    if len(hashes) != len(ids) or len(set(ids)) != len(ids):
        raise ValueError(
            f"a part needs one hash an id and each id once: {len(ids)} ids, {len(hashes)} hashes"
        )
    for name, array in arrays.items():
        if array.ndim != 2 or len(array) != len(ids) or array.dtype not in (np.float16, np.float32):
            raise ValueError(
                f"{name}: want ({len(ids)}, dim) float16 or float32, got {array.shape} {array.dtype}"
            )
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if len(bad):
            raise DataError(
                f"item {ids[bad[0]]!r}: its {name} vector is not finite ({len(bad)} rows are not)"
            )
    for name, mask in masks.items():
        if mask.shape != (len(ids),) or mask.dtype != np.bool_:
            raise ValueError(f"mask {name}: want ({len(ids)},) bool, got {mask.shape} {mask.dtype}")
