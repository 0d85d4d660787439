"""A run folder knows its configuration: ``config.yaml``, from which later verbs take what they are not told."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from mmreason.config import CatalogueConfig, Config
from mmreason.config_data import SourceConfig
from mmreason.files import atomic_write
from mmreason.records import changed_settings, flat
from mmreason.schema import DataError

NAME = "config.yaml"
OF_ONE_CALL = (
    *("run_dir", "continue_training", "engine", "ray.address", "embed.shard"),
    *("generate.name", "generate.requests", "generate.top_k", "generate.max_seconds", "evaluate.job"),
)
"""What a call is told to do, which the next call is not to repeat."""


def with_absolute_paths(config: Config) -> Config:
    """The same configuration, good in every working directory: files and folders that are there by their full path."""
    made = deepcopy(config)
    for section, names in (
        (made.align, ("image_weights", "text_weights", "features", "mine_from")),
        (made.reason, ("lm",)),
        (made.evidence, ("sensitive",)),
        (made.generate, ("requests", "packs")),
        (made.verify, ("nli",)),
    ):
        for name in names:
            setattr(section, name, _absolute(getattr(section, name)))
    places: list[CatalogueConfig | SourceConfig] = [made.catalogue, *made.catalogue.sources]
    for place in places:
        place.root = _absolute(place.root)
        place.options = {name: _absolute(value) for name, value in place.options.items()}
    return made


def keep(config: Config, change_source: bool = False) -> None:
    """Write a run's configuration into its folder, and say on stderr what differs from the one that was there.

    Args:
        config: With absolute paths.
        change_source: Allow that the catalogue is another one.

    Raises:
        DataError: If the catalogue is another one, and nobody asked for that.
    """
    path = config.path(NAME)
    now = dict(flat(asdict(config)))
    kept = {key: value for key, value in now.items() if key not in OF_ONE_CALL}
    before = dict(flat(_read(path)))
    if before == kept:
        return
    if before:
        was, is_now = _catalogue(before), _catalogue(kept)
        source = [f"{was[key]!r} → {is_now[key]!r}" for key in is_now if was[key] != is_now[key]]
        if source and not change_source and config.path("catalogue", "catalogue.json").exists():
            raise DataError(
                f"{config.run_dir} is the run of another catalogue ({', '.join(source)}); name another --run_dir, or "
                "add --change-source true"
            )
        print(f"{config.run_dir}: {'; '.join(changed_settings(before, kept))}", file=sys.stderr, flush=True)
    with atomic_write(path) as file:
        file.write(yaml.safe_dump(_nested(kept), sort_keys=False, allow_unicode=True).encode())


def _catalogue(settings: dict[str, Any]) -> dict[str, Any]:
    """What tells one catalogue from another: its readers and their folders."""
    several = settings.get("catalogue.sources") or []
    return {
        "source": settings.get("catalogue.source"),
        "root": settings.get("catalogue.root"),
        "sources": [[source.get(key) for key in ("name", "source", "root")] for source in several],
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); mend or remove it"
        ) from None
    return found if isinstance(found, dict) else {}


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = made
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return made


def _absolute(value: Any) -> Any:
    """A path that is there by its full name, also in a list; anything else as it is."""
    if isinstance(value, list):
        return [_absolute(one) for one in value]
    if isinstance(value, str) and value and "://" not in value and Path(value).expanduser().exists():
        return str(Path(value).expanduser().absolute())
    return value
