"""The ``search`` verb: items of the embedding store that are nearest to a text, a picture or a video."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from mmreason.catalogue.index import read_index
from mmreason.embed.embedder import Embedder
from mmreason.embed.job import encoder_weights, fingerprint
from mmreason.schema import DataError, Item, printable
from mmreason.store.nearest import Nearest
from mmreason.store.store import EmbeddingStore


def search(
    query: str = "",
    image: list[str] | str = "",
    video: str = "",
    run_dir: str = "runs/quickstart",
    top_k: int = 10,
    array: str = "fused",
) -> str:
    """Find the items nearest to a text, pictures, a video, or a mixture of them.

    Args:
        query: Words, such as "red hoodie".
        image: Path of a picture, or a list of several of one thing.
        video: Path of a video.
        run_dir: Folder of a run with its ``align`` and ``embed`` done.
        top_k: How many items.
        array: What is compared: ``fused``, or an item's ``image``, ``text`` or ``video`` vector alone.

    Returns:
        A line an item, best first: cosine, id, title.

    Raises:
        DataError: If there is nothing to search for, no store or no such array, or faiss is not installed.
        MediaError: If the picture or video cannot be read.
    """
    if not (query or image or video):
        raise DataError('nothing to search for; give words, --image or --video, such as search "red hoodie"')
    if top_k < 1:
        raise DataError(f"top_k is {top_k}; give a whole number of at least 1")
    root = Path(run_dir)
    store = EmbeddingStore.open(root / "embed")
    align = root / "align"
    if store.meta.get("model") != fingerprint(align) or store.meta.get("weights") != encoder_weights(align):
        raise DataError(
            f"{store.folder}: made by another alignment model than {align}, or its encoders' weights were replaced; "
            "run embed again"
        )
    arrays = ["fused", *store.masks]
    if array not in arrays:
        raise DataError(f"no array {array!r} to compare a query with; there are {', '.join(arrays)}")
    nearest = Nearest(store, array)
    images = image if isinstance(image, list) else [image] if image else []
    item = Item("query", title=query, images=images, video=video or None)
    found = nearest.search(Embedder.from_pretrained(align).encode([item]), top_k)[0]
    if not found:
        return f"no item has {'anything' if array == 'fused' else array} to compare with"
    titles = _titles(root / "catalogue", [item_id for item_id, _ in found])
    return "\n".join(
        printable(f"{score:.3f}  {item_id}  {titles.get(item_id, '')}".rstrip()) for item_id, score in found
    )


def _titles(folder: Path, ids: list[str]) -> dict[str, str]:
    """Id → title of some items; nothing else of the catalogue is read."""
    if not (folder / "catalogue.json").exists():
        return {}
    table = pq.read_table(
        read_index(folder).paths["items"], columns=["id", "title"], filters=[("id", "in", ids)]
    )
    return dict(zip(table["id"].to_pylist(), table["title"].to_pylist(), strict=True))
