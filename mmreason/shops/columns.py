"""``mmreason columns``: what a folder's files and columns are taken for, and the mapping to edit."""

from __future__ import annotations

from pathlib import Path

from mmreason.files import atomic_write
from mmreason.readers import inner_folder, recognise
from mmreason.readers.mapping import write_mapping
from mmreason.schema import DataError
from mmreason.shops.folder import survey
from mmreason.shops.systems import LAYOUTS


def columns(folder: str, write: str = "", reader: str = "") -> str:
    """Say which file of a folder is taken for what, and a line on each column: used as what, or why it is left out.

    Args:
        folder: The folder, or the file of items alone.
        write: A new file for the mapping; edit it and give it to ``ingest`` as ``--catalogue.options.mapping``.
        reader: Take the items from an export of this shop system only.

    Raises:
        DataError: If the folder holds no items, the file is there already, or there is no such reader.
    """
    if reader and reader not in LAYOUTS:
        raise DataError(
            f"--reader {reader!r}: columns are mapped of {', '.join(LAYOUTS)}, or of any tables without it"
        )
    root = inner_folder(Path(folder))
    public = "" if reader else recognise(root)
    if public != "tables" and not reader:
        return f"{folder}: read as {public}, whose columns are known; there is nothing to map"
    found = survey(root, reader)
    if not write:
        return f"{found}\nto edit the mapping: mmreason columns {folder} --write my_mapping.yaml"
    path = Path(write)
    if path.exists():
        raise DataError(f"--write {path}: there is such a file already; name another, or remove it")
    with atomic_write(path) as file:
        file.write(write_mapping(found.tables).encode())
    return (
        f"{found}\nmapping: {path}; edit it and give it to ingest or run: --catalogue.options.mapping {path}"
    )
