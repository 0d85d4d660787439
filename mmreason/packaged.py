"""YAML files that come with the toolkit: word lists, grammars, rules."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built


def packaged_yaml(package: str, *names: str) -> Any:
    """What a YAML file of a package holds.

    Args:
        package: With dots.
        names: Folders in it, and the file's name.

    Example:
        >>> packaged_yaml("mmreason.wording", "grammars", "en.yaml")["language"]
        'en'
    """
    return yaml.load(files(package).joinpath(*names).read_text(encoding="utf-8"), Loader=_LOADER)
