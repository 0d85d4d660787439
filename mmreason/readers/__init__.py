"""Readers: each reads one kind of source and returns all of its rows, good or bad.

A reader is a function ``read(config)`` or ``read(config, options)``. The annotation of ``options`` is a dataclass: the
reader's own options, given as ``catalogue.options``. Another package adds readers by entry points::

    [project.entry-points."mmreason.readers"]
    my_shop = "my_package.reader:read"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from mmreason.config import Config
from mmreason.readers.rows import format_of
from mmreason.readers.source import Tables
from mmreason.schema import DataError

Reader = Callable[..., Tables]

ENTRY_POINTS = "mmreason.readers"
"""Group of the entry points by which installed packages add readers."""

READERS: dict[str, str] = {
    "demo": "mmreason.demo.reader:read",
    "tables": "mmreason.shops.tables:read",
    "shopify": "mmreason.shops.tables:read_shopify",
    "woocommerce": "mmreason.shops.tables:read_woocommerce",
    "google_merchant": "mmreason.shops.tables:read_google_merchant",
    "bigcommerce": "mmreason.shops.tables:read_bigcommerce",
    "magento_csv": "mmreason.shops.tables:read_magento_csv",
    "magento": "mmreason.demo.sample_shop:read",
    "amazon": "mmreason.readers.amazon:read",
    "mind": "mmreason.readers.mind:read",
    "microlens": "mmreason.readers.microlens:read",
    "movielens": "mmreason.readers.movielens:read",
    "xrec": "mmreason.readers.xrec:read",
}
"""Name of a source → its reader, ``module:function``, imported when it is asked for."""


PUBLIC_SETS: dict[str, tuple[str, ...]] = {
    "magento": ("app/code/Magento",),
    "amazon": ("meta_*.jsonl*",),
    "mind": ("**/news.tsv", "**/behaviors.tsv"),
    "microlens": ("*_titles.csv", "*_pairs.*"),
    "movielens": ("movies.csv", "ratings.csv"),
    "xrec": ("train.jsonl", "test.jsonl"),
}
"""Name of a reader → the files by which its folder is known; all must be there."""


def recognise(root: Path) -> str:
    """The reader of a folder: that of a public set whose files it holds, else ``tables``, which looks at the columns.

    Example:
        >>> recognise(Path("no such folder"))
        'tables'
    """
    for name, patterns in PUBLIC_SETS.items() if root.is_dir() else ():
        if all(next(root.glob(pattern), None) for pattern in patterns):
            return name
    return "tables"


def inner_folder(root: Path) -> Path:
    """The folder itself; if it holds no table, the one folder in it that does, as archives are often unpacked."""
    if not root.is_dir() or recognise(root) != "tables" or _has_tables(root):
        return root
    inner = [
        path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith((".", "__"))
    ]
    found = [path for path in inner if recognise(path) != "tables" or _has_tables(path)]
    return found[0] if len(found) == 1 else root


def _has_tables(folder: Path) -> bool:
    return any(
        format_of(path) or path.suffix.lower() == ".xml" for path in folder.iterdir() if path.is_file()
    )


def read_source(config: Config) -> Tables:
    """All rows of ``catalogue.source``, read as they are asked for.

    Raises:
        DataError: If there is no such reader, an option is unknown or has a wrong type, or the source is missing.
    """
    name = config.catalogue.source
    reader = find_reader(name)
    kind = options_type(reader)
    if kind is not None:
        return reader(config, make_options(kind, config.catalogue.options, name))
    if config.catalogue.options:
        raise DataError(
            f"catalogue.options: {name!r} has no options; leave out {_listed(config.catalogue.options)}"
        )
    return reader(config)


def find_reader(name: str) -> Reader:
    """The reader of a source: one of :data:`READERS`, or one that an installed package adds.

    Raises:
        DataError: If there is none of that name, or its package cannot be imported.

    Example:
        >>> find_reader("movielens").__module__
        'mmreason.readers.movielens'
    """
    if name in READERS:
        module, function = READERS[name].split(":")
        reader: Reader = getattr(import_module(module), function)
        return reader
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in added:
        raise DataError(
            f"catalogue.source {name!r} is unknown; there are {_listed([*READERS, *sorted(added)])}"
        )
    try:
        loaded: Reader = added[name].load()
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"catalogue.source {name!r}: {added[name].value} cannot be imported ({error})"
        ) from None
    return loaded


def options_type(reader: Reader) -> type | None:
    """The dataclass of a reader's own options; None if it has none."""
    kind: type | None = get_type_hints(reader).get("options")
    return kind


def make_options(kind: type, given: Mapping[str, Any], source: str) -> Any:
    """A reader's options from what ``catalogue.options`` holds, checked against their dataclass.

    Args:
        kind: The dataclass.
        given: Name → value.
        source: Name of the reader, for messages.

    Raises:
        DataError: On an unknown name (the message lists the known ones) or a value of a wrong type.

    Example:
        >>> from mmreason.readers.movielens import MovieLensOptions
        >>> make_options(MovieLensOptions, {"texts": "plots.csv"}, "movielens")
        MovieLensOptions(texts='plots.csv')
    """
    known = [field.name for field in fields(kind)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise DataError(
            f"catalogue.options: {source!r} has no option {unknown[0]!r}; it has {_listed(known)}"
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    try:
        parsed = parser.instantiate(parser.parse_object(dict(given)))
    except ArgumentError as error:
        raise DataError(f"catalogue.options of {source!r}: {' '.join(str(error).split())}") from None
    return kind(**vars(parsed))


def _listed(names: Any) -> str:
    return ", ".join(names)
