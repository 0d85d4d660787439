"""Readers: each takes a :class:`mmreason.config.Config` and returns every row of its source, good or bad."""

from collections.abc import Callable
from importlib import import_module

from mmreason.catalogue.check import Tables
from mmreason.config import Config
from mmreason.schema import DataError

Reader = Callable[[Config], Tables]

READERS: dict[str, str] = {
    "demo": "mmreason.demo.reader:read",
    "tables": "mmreason.catalogue.readers.tables:read",
    "magento": "mmreason.catalogue.readers.magento:read",
    "amazon": "mmreason.catalogue.readers.amazon:read",
    "mind": "mmreason.catalogue.readers.mind:read",
    "microlens": "mmreason.catalogue.readers.microlens:read",
    "movielens": "mmreason.catalogue.readers.movielens:read",
    "xrec": "mmreason.catalogue.readers.xrec:read",
}
"""Name of a source → its reader, ``module:function``, imported when it is asked for."""


def find_reader(name: str) -> Reader:
    """The reader of a source.

    Raises:
        DataError: If there is none of that name.
    """
    if name not in READERS:
        raise DataError(f"catalogue.source {name!r} is unknown; there are {', '.join(READERS)}")
    module, function = READERS[name].split(":")
    reader: Reader = getattr(import_module(module), function)
    return reader
