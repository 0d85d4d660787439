"""The ``export-embeddings`` verb: the embedding store for other tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.files import TEMPORARY, atomic_folder, atomic_write, has_writer, remove
from mmreason.progress import track
from mmreason.schema import DataError
from mmreason.store.store import EmbeddingStore

CHUNK = 16_384


def export_embeddings(
    target: str, run_dir: str = "runs/quickstart", array: str = "fused", form: str = "auto"
) -> str:
    """Write one array of a run's embedding store as Parquet, or as a folder of NumPy and JSON Lines.

    Args:
        target: ``….parquet``, or a folder, which must not hold anything else.
        run_dir: Folder of a run with its ``embed`` done.
        array: ``fused``, ``image``, ``text``, ``video`` or one of their ``…_features``.
        form: ``parquet``: columns ``id``, ``embedding`` (a list of D float32) and ``has_<modality>``.
            ``folder``: ``embeddings.npy`` (N, D) float32 and ``ids.jsonl``, a JSON string a row, in the same order:
            what ``sentence_transformers.util.semantic_search(query, np.load(…))`` takes. ``auto`` goes by the name.

    Returns:
        One line.

    Raises:
        DataError: If there is no store or no such array, or the target cannot be written.
    """
    if form not in ("auto", "parquet", "folder"):
        raise DataError(f"form is {form!r}; there are auto, parquet and folder")
    store = EmbeddingStore.open(Path(run_dir, "embed"))
    if array not in store.dims:
        raise DataError(f"{store.folder}: no array {array!r}; there are {', '.join(store.names) or 'none'}")
    path = Path(target)
    if form == "parquet" or (form == "auto" and path.suffix == ".parquet"):
        _write_parquet(store, array, path)
    else:
        _write_folder(store, array, path)
    return f"{len(store):,} embeddings of {store.dims[array]} dimensions: {path}"


def _write_parquet(store: EmbeddingStore, array: str, path: Path) -> None:
    dim = store.dims[array]
    fields = [("id", pa.string()), ("embedding", pa.list_(pa.float32(), dim))]
    schema = pa.schema([*fields, *((f"has_{name}", pa.bool_()) for name in store.masks)])
    with atomic_write(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _chunks(store):
            vectors = pa.FixedSizeListArray.from_arrays(store.get(array, rows).ravel(), dim)
            columns = {"id": pa.array([store.id(row) for row in rows], pa.string()), "embedding": vectors}
            columns |= {f"has_{name}": pa.array(store.mask(name, rows)) for name in store.masks}
            writer.write_table(pa.table(columns, schema=schema))


def _write_folder(store: EmbeddingStore, array: str, path: Path) -> None:
    if path.exists():
        names = {child.name for child in path.iterdir()} if path.is_dir() else {path}
        if names - {"embeddings.npy", "ids.jsonl"}:
            raise DataError(f"{path}: holds other files; name a new folder")
    for left in path.parent.glob(f"{TEMPORARY}*-{path.name}"):  # by a kill
        if not has_writer(left):
            remove(left)
    with atomic_folder(path) as folder:
        shape = (len(store), store.dims[array])
        vectors = np.lib.format.open_memmap(folder / "embeddings.npy", "w+", np.float32, shape)
        with (folder / "ids.jsonl").open("w", encoding="utf-8") as lines:
            for rows in _chunks(store):
                vectors[rows] = store.get(array, rows)
                lines.writelines(json.dumps(store.id(row)) + "\n" for row in rows)
        vectors.flush()
        remove(path)


def _chunks(store: EmbeddingStore) -> Iterator[np.ndarray]:
    starts = range(0, len(store), CHUNK)
    chunks = (np.arange(start, min(start + CHUNK, len(store))) for start in starts)
    return track(chunks, "export", "chunk", total=len(starts))
