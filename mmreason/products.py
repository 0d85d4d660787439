"""Fingerprints, by content, of what the stages of a run read and write."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from encoders.digest import file_digest, weights_digest
from mmreason.config import Config
from mmreason.config_data import SourceConfig
from mmreason.files import atomic_write
from mmreason.plugins import versions_of_writers
from mmreason.schema import DataError

Parts = dict[str, str]
"""Name of a part (a file, a shard) → its digest; empty if nothing is there."""

MANY_FILES = 1000
"""Of a larger source, each sub-folder counts as one part."""

DOWNLOADS = "downloads"
"""Folder under the source that ingest fills itself."""

_NOT_A_MODEL = ("checkpoints", "logs", "log.json", "quarantine.jsonl")


def fingerprint(product: str, config: Config) -> Parts:
    """The parts of a product as they are on disk now.

    Args:
        product: A name of :data:`PRODUCTS`.
        config: The run.

    Raises:
        DataError: If the source's folder is gone.
        WeightsError: If weights that are named by path are gone.
    """
    return PRODUCTS[product](config)


def combined(parts: Parts) -> str:
    """One digest of all parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _source(config: Config) -> Parts:
    """Size and time of every file that the readers may read: those of their folders, and those that options name."""
    stamps: Parts = {}
    for source in config.catalogue.each_source():
        where = f"{source.name}:" if source.name else ""
        stamps |= {where + name: stamp for name, stamp in _stamps_of_source(source, config)}
    return _folded(stamps)


def _stamps_of_source(source: SourceConfig, config: Config) -> Iterator[tuple[str, str]]:
    root = _source_root(source, config)
    if source.root and not root.exists():
        raise DataError(f"catalogue.root {root}: no such file or folder; put it back, or name its new place")
    if root.is_dir():
        yield from _stamps(root, config.path().resolve())
    elif source.root:
        yield root.name, _stamp(root)
    for value in source.options.values():
        if isinstance(value, str) and Path(value).is_file():
            yield value, _stamp(Path(value))


def _source_root(source: SourceConfig, config: Config) -> Path:
    """What a reader reads; a reader without a root makes its source in the run."""
    if source.root:
        return Path(source.root)
    return config.path("sources", source.name, "raw") if source.name else config.path("raw")


def _stamps(root: Path, run: Path) -> Iterator[tuple[str, str]]:
    """Path in a folder → size and time, of all files but hidden ones, downloads and the run's own."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = f"{folder}{entry.name}"
                if entry.name.startswith(".") or name == DOWNLOADS:
                    continue
                if not entry.is_dir():
                    yield name, _stamp(entry)
                elif Path(entry.path).resolve() != run:
                    waiting.append(name + "/")


def _stamp(path: Path | os.DirEntry[str]) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):  # the latter for a name with a null byte
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _folded(stamps: Parts) -> Parts:
    """The stamps, those of a folder taken together if there are many."""
    if len(stamps) <= MANY_FILES:
        return stamps
    folders: dict[str, Parts] = {}
    for name, stamp in stamps.items():
        top, slash, _ = name.partition("/")
        folders.setdefault(top + slash, {})[name] = stamp
    return {name: files[name] if name in files else combined(files) for name, files in folders.items()}


def _media(config: Config) -> Parts:
    """Size and time of every picture and video of the items."""
    index = _json(config.path("catalogue", "catalogue.json"))
    items = config.path("catalogue", "items.parquet")
    if index is None or not items.is_file():
        return {}
    root = Path(os.path.normpath(config.path("catalogue") / index["media_root"]))

    def look() -> Parts:
        stamps = {name: _stamp(root / name) for name in _media_names(items)}
        if stamps and not root.is_dir():
            raise DataError(f"{root}: the folder of the pictures and videos is gone; put it back")
        return _folded(stamps)

    folders = [_source_root(source, config) for source in config.catalogue.each_source()]
    if not all(folder.is_dir() for folder in (root, *folders)):
        return look()
    return _noted(config, "media", combined(_source(config) | {"items": file_digest(items)}), look)


def _media_names(items: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(items) as file:
        for batch in file.iter_batches(columns=["images", "video"]):
            for images, video in zip(batch["images"].to_pylist(), batch["video"].to_pylist(), strict=True):
                yield from json.loads(images or "[]")
                if video:
                    yield video


def _items(config: Config) -> Parts:
    return _files(config, "catalogue/items.parquet")


def _own_behaviours(config: Config) -> Parts:
    return _files(config, "catalogue/interactions.parquet", "catalogue/reasons.parquet")


def _behaviours(config: Config) -> Parts:
    """The interactions and reasons that catalogue.json names: the source's own, or simulated ones."""
    index = _json(config.path("catalogue", "catalogue.json"))
    if index is None:
        return {}
    named = {
        name: index.get("paths", {}).get(name, f"{name}.parquet") for name in ("interactions", "reasons")
    }
    return _files(config, *(os.path.normpath(f"catalogue/{path}") for path in named.values()))


def _item_shards(config: Config) -> Parts:
    return _shards(config, "items")


def _embedded_items(config: Config) -> Parts:
    """What embed reads: the shards unless the catalogue is asked for."""
    return _items(config) | _media(config) if config.embed.source == "catalogue" else _item_shards(config)


def _reason_shards(config: Config) -> Parts:
    return _shards(config, "reasons-train", "reasons-valid", "reasons-test")


def _learnt_reason_shards(config: Config) -> Parts:
    """Those that a training reads, and the weights that it draws their rows by, if it does."""
    manifest = _json(config.path("shards", "manifest.json"))
    weights = (manifest or {}).get("balance", {}).get("sha256")
    drawn = {"weights": str(weights)} if weights and config.reason.balanced else {}
    return _shards(config, "reasons-train", "reasons-valid") | drawn


def _shards(config: Config, *kinds: str) -> Parts:
    manifest = _json(config.path("shards", "manifest.json"))
    shards = [shard for shard in manifest["shards"] if shard["kind"] in kinds] if manifest else []
    return {s["name"]: s["sha256"] for s in shards if config.path("shards", s["name"]).exists()}


def _encoder_weights(config: Config) -> Parts:
    specs = {"image weights": config.align.image_weights, "text weights": config.align.text_weights}
    return {name: _weights(spec) for name, spec in specs.items() if spec}


def _told_evidence(config: Config) -> Parts:
    """What is known of the items, where a language model learns to say it."""
    return _evidence(config) if config.reason.inputs == "plan" else {}


def _language_model(config: Config) -> Parts:
    return {"language model": _weights(config.reason.lm)} if config.generate.trains_lm else {}


def _inference_model(config: Config) -> Parts:
    return {"inference model": _weights(config.verify.nli)} if config.verify.nli else {}


def _weights(spec: str) -> str:
    """The digest of weights; of those on a hub, the commit that is here, so that nothing is fetched to look."""
    if not spec.startswith("hf://"):
        return weights_digest(spec)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, revision = spec.removeprefix("hf://").partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, local_files_only=True)).name
    except LocalEntryNotFoundError:
        return ""


def _shared_space(config: Config) -> Parts:
    return _model(config, "align")


def _reason_model(config: Config) -> Parts:
    return _model(config, "reason")


def _models(config: Config) -> Parts:
    return _model(config, "reason") | (_model(config, "baseline") if config.evaluate.baseline else {})


def _model(config: Config, folder: str) -> Parts:
    """All files of a checkpoint but those of its training."""
    root = config.path(folder)
    if not (root / "config.json").is_file():
        return {}
    names = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    kept = [n for n in names if n.parts[0] not in _NOT_A_MODEL and n.suffix != ".md" and n.name[0] != "."]
    return _files(config, *(f"{folder}/{name.as_posix()}" for name in kept))


def _vectors(config: Config) -> Parts:
    """Which items are embedded, from which content, by which model, in whatever order and parts."""
    indexes = {path.name: _json(path) for path in sorted(config.path("embed").glob("index*.json"))}
    names = [part["name"] for index in indexes.values() for part in (index or {}).get("parts", ())]
    caches = (_json(config.path("embed", "features.json")) or {}).values()
    if not names or not all(config.path("embed", name).is_dir() for name in (*names, *caches)):
        return {}

    def look() -> Parts:
        return {
            "vectors": _rows_digest(config.path("embed"), names, [i["meta"] for i in indexes.values() if i])
        }

    return _noted(config, "vectors", hashlib.sha256(json.dumps(indexes).encode()).hexdigest(), look)


def _rows_digest(folder: Path, names: list[str], metas: list[object]) -> str:
    """Of the last row of every item, but of those that are gone; in memory are 24 bytes a row."""
    import numpy as np
    import pyarrow.parquet as pq

    def digests(texts: Iterable[str], words: int) -> np.ndarray:
        found = (blake2b(text.encode("utf-8", "replace"), digest_size=8 * words).digest() for text in texts)
        return np.frombuffer(b"".join(found), np.uint64).reshape(-1, words)

    ids, rows, gone = [], [], []
    for name in sorted(names, key=lambda name: int(name.split("-")[1]), reverse=True):
        table = pq.read_table(folder / name / "rows.parquet", columns=["id", "hash"])
        pairs = [*zip(table["id"].to_pylist(), table["hash"].to_pylist(), strict=True)][::-1]
        ids.append(digests((item for item, _ in pairs), 1)[:, 0])
        rows.append(digests((f"{item}\0{content}" for item, content in pairs), 2))
        gone.append(np.array([not content for _, content in pairs], dtype=bool))
    _, first = np.unique(np.concatenate(ids), return_index=True)  # of the rows from the last one on
    kept = first[~np.concatenate(gone)[first]]
    meta = json.dumps(metas[0], sort_keys=True).encode("utf-8", "replace")
    return hashlib.sha256(meta + np.concatenate(rows)[kept].tobytes()).hexdigest()


def _evidence(config: Config) -> Parts:
    names = *(f"{name}.parquet" for name in ("facts", "concepts", "pairs")), "sensitive.yaml"
    return _files(config, *(f"evidence/{name}" for name in names))


def _corrected_concepts(config: Config) -> Parts:
    return _files(config, "concepts.csv")


def _aspects(config: Config) -> Parts:
    """What reviews are read for: the aspects that were mined, else those that the stage learns, and a person edits."""
    return _files(config, "mined/aspects.yaml") or _files(config, "evidence/aspects.yaml")


def _sensitive_terms(config: Config) -> Parts:
    return _named_files(
        "evidence.sensitive", [config.evidence.sensitive] if config.evidence.sensitive else []
    )


def _compliance_packs(config: Config) -> Parts:
    return _named_files("generate.packs", config.generate.packs)


def _requests(config: Config) -> Parts:
    """The pairs to write reasons for: of a file, with everybody's behaviours, or of the test split."""
    path = config.generate.requests
    if not path:
        return _shards(config, "reasons-test") | _behaviours(config)
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file; generate.requests is a table of user_id and item_id")
    return {Path(path).name: file_digest(Path(path))} | _behaviours(config)


def _reasons(config: Config) -> Parts:
    return _job(config, config.generate.job)


def _judged_reasons(config: Config) -> Parts:
    return _job(config, config.evaluate.job or config.generate.job)


def _job(config: Config, name: str) -> Parts:
    folder = f"generate/{name}"
    return _files(
        config, *(f"{folder}/{path.name}" for path in sorted(config.path(folder).glob("*.parquet")))
    )


def _report(config: Config) -> Parts:
    return _files(config, "evaluate/metrics.json", "report.html")


PRODUCTS: dict[str, Callable[[Config], Parts]] = {
    "source": _source,
    "items": _items,
    "media": _media,
    "own behaviours": _own_behaviours,
    "behaviours": _behaviours,
    "item shards": _item_shards,
    "reason shards": _reason_shards,
    "learnt reason shards": _learnt_reason_shards,
    "embedded items": _embedded_items,
    "encoder weights": _encoder_weights,
    "shared space": _shared_space,
    "vectors": _vectors,
    "corrected concepts": _corrected_concepts,
    "aspects": _aspects,
    "sensitive terms": _sensitive_terms,
    "evidence": _evidence,
    "told evidence": _told_evidence,
    "language model": _language_model,
    "reason model": _reason_model,
    "inference model": _inference_model,
    "models": _models,
    "compliance packs": _compliance_packs,
    "added writers": lambda config: versions_of_writers(config.generate.writers),
    "requests": _requests,
    "reasons": _reasons,
    "judged reasons": _judged_reasons,
    "report": _report,
}
"""What stages read and write → its parts on disk."""


def _files(config: Config, *names: str) -> Parts:
    paths = {name: config.path(name) for name in names}
    return {name: file_digest(path) for name, path in paths.items() if path.is_file()}


def _named_files(setting: str, names: Iterable[str]) -> Parts:
    """Files that a setting names."""
    for name in names:
        if not Path(name).is_file():
            raise DataError(f"{setting}: {name}: no such file; put it back, or name its new place")
    return {name: file_digest(Path(name)) for name in names}


def _noted(config: Config, name: str, key: str, look: Callable[[], Parts]) -> Parts:
    """The parts as noted if the key is that of the note, else looked up and noted."""
    note = config.path("done", f".{name}.json")
    found = _json(note)
    if found is not None and found["key"] == key:
        return dict(found["parts"])
    parts = look()
    if note.parent.is_dir():
        with atomic_write(note) as file:
            file.write(json.dumps({"key": key, "parts": parts}).encode())
    return parts


def _json(path: Path) -> dict | None:
    """A JSON object; None if there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
