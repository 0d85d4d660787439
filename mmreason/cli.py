"""``mmreason <verb> run.yaml --align.steps 100``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from mmreason.config import Config
from mmreason.pipeline import alone_in, run, run_verb
from mmreason.records import STAGES
from mmreason.schema import DataError, printable
from mmreason.settings import NAME as SAVED
from mmreason.settings import with_absolute_paths

COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("mmreason.pipeline:status", "what of a run is done, stale and missing, and why"),
    "columns": (
        "mmreason.shops.columns:columns",
        "what a folder's files and columns are taken for, and the mapping to edit",
    ),
    "concepts": (
        "mmreason.concepts.corrections:concepts",
        "which facts mean the same; concepts.csv, to correct by hand",
    ),
    "explain": (
        "mmreason.generate.explain:explain",
        "one reason, or a page of them: plan, evidence, and what was stopped and why",
    ),
    "search": ("mmreason.embed.search:search", "items nearest to a text, a picture or a video"),
    "export-embeddings": (
        "mmreason.store.export:export_embeddings",
        "the embedding store as Parquet or NumPy",
    ),
    "export-reasons": (
        "mmreason.bulk.export:export_reasons",
        "the newest reason of every user and item as Parquet, JSON Lines or CSV",
    ),
    "align-users": (
        "mmreason.users.train:align_users",
        "train the user tower on what users took next",
    ),
    "evaluate-alignment": (
        "mmreason.evaluate.alignment:evaluate_alignment",
        "retrieval, zero-shot classification, next items and a map of the shared space",
    ),
    "mine-reasons": (
        "mmreason.targets.mine:mine_reasons",
        "reasons to learn from out of the catalogue's reviews",
    ),
    "audit": (
        "mmreason.generate.audit:audit",
        "a table of reasons against the compliance packs: what may not be shown, and why",
    ),
    "check-splits": (
        "mmreason.evaluate.check_splits:check_splits",
        "what crosses the splits of the catalogue",
    ),
}
"""Verbs that are no stage of a run: name → (``module:function``, help). The function's signature is the verb's
arguments (one ``config`` takes a run's, as a stage does), its docstring the help; it returns the text to print.
Imported only when its verb is asked for."""


UNTRAINED = ["--align.steps", "0", "--generate.writers", "[template, extract]"]
"""Settings of a new run of ``reasons``."""


def main(argv: list[str] | None = None) -> None:
    """Run a verb; a mistake that a user can mend is one line and a non-zero exit status."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    try:
        _dispatch([a for a in arguments if a != "--debug"])
    except KeyboardInterrupt:
        sys.exit("mmreason: interrupted; run the same command again to go on")
    except Exception as error:
        if debug or not _mendable(error):
            raise
        sys.exit(f"mmreason: error: {' '.join(printable(str(error)).split())}")


def _mendable(error: Exception) -> bool:
    """Whether the message tells a user enough, so that a traceback would only be in the way."""
    named = ("MediaError", "WeightsError")  # of `encoders`, which imports torch: asked by name
    return isinstance(error, DataError | OSError | ArgumentError) or type(error).__name__ in named


def _function(command: str) -> Callable[..., str]:
    module, name = COMMANDS[command][0].split(":")
    return getattr(import_module(module), name)


def _takes_config(command: str) -> bool:
    return [*signature(_function(command)).parameters] == ["config"]


def _add_config(verb: ArgumentParser) -> None:
    verb.add_argument("--config", action="config", help="YAML file, e.g. configs/quickstart.yaml")
    verb.add_class_arguments(Config)


def parser(verb_asked: str = "run") -> ArgumentParser:
    """The parser of all verbs: a YAML file and dotted overrides, typed by :class:`Config`.

    Args:
        verb_asked: Only this verb gets its arguments, so that nothing is imported for the others.
    """
    top = ArgumentParser(
        prog="mmreason", exit_on_error=False, description="Recommendation reasons, true and personal."
    )
    verbs = top.add_subcommands(dest="verb", required=True)
    help_texts = {"run": "all stages in order; only what is missing or stale is done"}
    help_texts["reasons"] = "from a catalogue's folder to reasons.parquet and report.html; nothing is trained"
    help_texts |= {stage.name: f"the {stage.name} stage alone" for stage in STAGES}
    help_texts |= {name: text for name, (_, text) in COMMANDS.items()}
    for name, text in help_texts.items():
        verb = ArgumentParser(exit_on_error=False, description=text)
        if name == verb_asked and name in COMMANDS and not _takes_config(name):
            verb.add_function_arguments(_function(name), as_group=False)
        elif name == verb_asked:
            _add_config(verb)
            _add_flags(verb, name)
        verbs.add_subcommand(name, verb, help=text)
    return top


def _add_flags(verb: ArgumentParser, name: str) -> None:
    """What a call is told beside the configuration."""
    if name == "ingest":
        verb.add_argument(
            "reader", nargs="?", help="catalogue.source, as in `ingest amazon --root folder`; or a folder"
        )
        verb.add_argument("--root", type=str, help="catalogue.root")
        verb.add_argument("--allow-download", action="store_true", help="catalogue.allow_download")
    if name in ("run", "reasons"):
        verb.add_argument("--force", type=bool, default=False, help="do finished stages again")
    if name == "generate":
        verb.add_argument(
            "--dry-run", action="store_true", help="print counts, time and memory, and write nothing"
        )
    if name not in COMMANDS:
        verb.add_argument(
            "--change-source", type=bool, default=False, help="make it the run of another catalogue"
        )


def _dispatch(arguments: list[str]) -> None:
    arguments = _spelled_out(arguments)
    verb = arguments[0] if arguments else ""
    top = parser(verb)
    if verb in COMMANDS and not _takes_config(verb):
        values = _parse(top, arguments)[verb]
        print(_function(verb)(**vars(top.instantiate(Namespace({verb: values}))[verb])))
        return
    values = _values(top, arguments)
    config = to_config(values)
    if verb == "status":
        print(_function(verb)(config))
        return
    if verb in COMMANDS:
        with alone_in(config):
            print(_function(verb)(config))
        return
    if verb == "ingest":
        config.catalogue.source = values.reader or config.catalogue.source
        config.catalogue.root = values.root or config.catalogue.root
        config.catalogue.allow_download |= values.allow_download
    if verb == "generate" and values.dry_run:
        with alone_in(config):
            print(import_module("mmreason.generate.job").dry_run(with_absolute_paths(config)))
        return
    if verb in ("run", "reasons"):
        report = run(config, values.force, values.change_source)
        if verb == "reasons" and report is not None:
            collect = import_module("mmreason.generate.job").collect
            print(collect(config))
    else:
        run_verb(verb, config, values.change_source)


_SHORT = {
    "--address": "--ray.address",
    "--continue-training": "--continue_training=true",
    "--max-seconds": "--generate.max_seconds",
    "--top-k": "--generate.top_k",
}


def _spelled(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return _SHORT.get(name, name) + equals + value


_FIRST = {
    "search": "--query",
    "columns": "--folder",
    "explain": "--run_dir",
    "audit": "--reasons",
    "export-embeddings": "--target",
    "export-reasons": "--target",
}
"""Verbs whose first argument needs no name."""


def _spelled_out(arguments: list[str]) -> list[str]:
    """Short forms in full: ``run some.yaml``, ``search "red hoodie"`` and ``--max-seconds 600``."""
    arguments = [_spelled(argument) for argument in arguments]
    verb, first = [*arguments, "", ""][:2]
    if first.endswith((".yaml", ".yml")) and (verb not in COMMANDS or _takes_config(verb)):
        return [verb, "--config", *arguments[1:]]
    if verb in _FIRST and first and not first.startswith("-"):
        return [verb, _FIRST[verb], *arguments[1:]]
    if verb in ("ingest", "run", "reasons") and first and not first.startswith("-") and Path(first).exists():
        return _of_folder(verb, Path(first), arguments[2:])
    return arguments


def _of_folder(verb: str, root: Path, others: list[str]) -> list[str]:
    """``ingest my_shop``: its reader is found by its files, or named by ``--reader``; its run is in runs/my_shop."""
    from mmreason.readers import READERS, inner_folder, recognise

    if root.name in READERS and "--root" in others:  # the reader of that name
        return [verb, str(root), *others]
    given = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    given.add_argument("--reader")
    given.add_argument("--run_dir", default=f"runs/{root.resolve().stem}")
    named, others = given.parse_known_args(others)
    if (inner := inner_folder(root)) != root:
        print(f"{root} holds no table itself; read is {inner}", file=sys.stderr)
        root = inner
    told = ["--run_dir", named.run_dir, "--catalogue.root", str(root)]
    is_new = not Path(named.run_dir, SAVED).is_file()
    if named.reader or is_new:
        told += ["--catalogue.source", named.reader or recognise(root)]
    if verb == "reasons" and is_new:
        told += UNTRAINED
    return [verb, *told, *others]


def config_of_folder(folder: str | Path, run_dir: str | Path = "") -> Config:
    """The configuration of ``mmreason reasons <folder>``, which trains nothing.

    Args:
        folder: Tables, an export of a shop system, or a public set.
        run_dir: The run's folder; default ``runs/<folder's name>``.

    Raises:
        DataError: If there is no such folder.
    """
    if not Path(folder).exists():
        raise DataError(f"{folder}: no such file or folder; name the folder of a catalogue")
    place = ["--run_dir", str(run_dir)] if run_dir else []
    return to_config(_values(parser("reasons"), _of_folder("reasons", Path(folder), place)))


def _values(top: ArgumentParser, arguments: list[str]) -> Namespace:
    """The arguments of a run; what this call is not told is as it was in the run's folder."""
    verb = arguments[0]
    values = _parse(top, arguments)[verb]
    saved = Path(values.run_dir, SAVED)
    if saved.is_file():
        values = _parse(top, [verb, "--config", str(saved), *arguments[1:]])[verb]
    return values


def _parse(top: ArgumentParser, arguments: list[str]) -> Namespace:
    try:
        return top.parse_args(arguments)
    except ArgumentError as error:
        raise DataError(" ".join(str(error).split())) from None


def to_config(values: Namespace) -> Config:
    """Parsed arguments as the typed configuration."""
    from dataclasses import fields, is_dataclass
    from typing import Any, get_args, get_type_hints

    def build(kind: Any, node: Any) -> Any:
        if isinstance(kind, type) and is_dataclass(kind) and not is_dataclass(node):
            hints = get_type_hints(kind)
            return kind(**{f.name: build(hints[f.name], node[f.name]) for f in fields(kind)})
        inner = get_args(kind)
        if isinstance(node, list) and inner and is_dataclass(inner[0]):
            return [build(inner[0], each) for each in node]
        return node

    return build(Config, values)


def read_config(path: str | Path, **overrides: object) -> Config:
    """Read a YAML file as ``mmreason run --config`` does.

    Args:
        path: The file.
        overrides: Top-level fields to replace, e.g. ``run_dir``.

    Raises:
        DataError: On an unknown key or a wrong type; the message names it.
    """
    config = to_config(_parse(parser(), ["run", "--config", str(path)])["run"])
    for name, value in overrides.items():
        setattr(config, name, value)
    return config


if __name__ == "__main__":
    main()
