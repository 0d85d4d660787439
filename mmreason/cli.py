"""``mmreason <verb> run.yaml --align.steps 100``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from mmreason.config import Config
from mmreason.pipeline import run, run_verb
from mmreason.records import STAGES
from mmreason.schema import DataError, printable

COMMANDS: dict[str, tuple[str, str]] = {
    "search": ("mmreason.embed.search:search", "items nearest to a text, a picture or a video"),
    "export-embeddings": (
        "mmreason.store.export:export_embeddings",
        "the embedding store as Parquet or NumPy",
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
        "mmreason.targets.mining.mine:mine_reasons",
        "reasons to learn from out of the catalogue's reviews",
    ),
    "check-splits": (
        "mmreason.evaluate.check_splits:check_splits",
        "what crosses the splits of the catalogue",
    ),
}
"""Verbs that are no stage of a run: name → (``module:function``, help). The function's signature is the verb's
arguments (one ``config`` takes a run's, as a stage does), its docstring the help; it returns the text to print.
Imported only when its verb is asked for."""


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


def parser(verb_asked: str = "") -> ArgumentParser:
    """The parser of every verb: a YAML file and dotted overrides, typed by :class:`Config`.

    Args:
        verb_asked: Of the :data:`COMMANDS`, only this one gets its arguments, so that the others are not imported.
    """
    top = ArgumentParser(
        prog="mmreason", exit_on_error=False, description="Recommendation reasons, true and personal."
    )
    verbs = top.add_subcommands(dest="verb", required=True)
    help_texts = {"run": "all stages in order; only what is missing is done"}
    help_texts |= {stage.name: f"the {stage.name} stage alone" for stage in STAGES}
    for name, text in help_texts.items():
        verb = ArgumentParser(exit_on_error=False, description=text)
        _add_config(verb)
        if name == "ingest":
            verb.add_argument(
                "reader", nargs="?", help="catalogue.source, as in `ingest amazon --root folder`"
            )
            verb.add_argument("--root", type=str, help="catalogue.root")
            verb.add_argument("--allow-download", action="store_true", help="catalogue.allow_download")
        if name == "run":
            verb.add_argument("--force", type=bool, default=False, help="do finished stages again")
        verbs.add_subcommand(name, verb, help=text)
    for name, (_, text) in COMMANDS.items():
        verb = ArgumentParser(exit_on_error=False, description=text)
        if name == verb_asked:
            if _takes_config(name):
                _add_config(verb)
            else:
                verb.add_function_arguments(_function(name))
        verbs.add_subcommand(name, verb, help=text)
    return top


def _dispatch(arguments: list[str]) -> None:
    verb = arguments[0] if arguments else ""
    if (
        arguments[1:]
        and arguments[1].endswith((".yaml", ".yml"))
        and (verb not in COMMANDS or _takes_config(verb))
    ):
        arguments = [verb, "--config", *arguments[1:]]  # mmreason run configs/quickstart.yaml
    if verb == "search" and arguments[1:] and not arguments[1].startswith("-"):
        arguments = ["search", "--query", *arguments[1:]]  # mmreason search "red hoodie"
    top = parser(verb)
    try:
        parsed = top.parse_args(arguments)
    except ArgumentError as error:
        raise DataError(_plain(str(error))) from None
    values: Namespace = parsed[parsed.verb]
    if parsed.verb in COMMANDS and _takes_config(parsed.verb):
        print(_function(parsed.verb)(to_config(values)))
        return
    if parsed.verb in COMMANDS:
        print(_function(parsed.verb)(**vars(top.instantiate_classes(parsed)[parsed.verb])))
        return
    config = to_config(values)
    if parsed.verb == "ingest":
        config.catalogue.source = values.reader or config.catalogue.source
        config.catalogue.root = values.root or config.catalogue.root
        config.catalogue.allow_download |= values.allow_download
    if parsed.verb == "run":
        run(config, values.force)
    else:
        run_verb(parsed.verb, config)


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
    try:
        values = parser().parse_args(["run", "--config", str(path)])["run"]
    except ArgumentError as error:
        raise DataError(_plain(str(error))) from None
    config = to_config(values)
    for name, value in overrides.items():
        setattr(config, name, value)
    return config


def _plain(message: str) -> str:
    """jsonargparse's message in one line."""
    return " ".join(message.split())


if __name__ == "__main__":
    main()
