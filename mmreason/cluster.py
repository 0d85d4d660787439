"""Work on a Ray cluster: tasks in, a result each out, by a Ray Data pipeline over a pool of workers.

Ray Data schedules, holds back, scales the pool, and starts anew what died: a worker, alone or with its node, and its
tasks. What a worker holds (a model, a catalogue) is made once in each. Tasks and results are small: what is written
goes to the disk that all nodes share, whole or not at all, so that a task which ran twice did its work once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmreason.config import Config
from mmreason.files import TEMPORARY, remove
from mmreason.processes import share_of
from mmreason.schema import DataError

Work = Callable[[Any], Any]
"""Does a task and returns its result, both JSON values."""

TRIES = 5
"""How many workers may die of a task, before the job stops."""

_BEGUN = f"{TEMPORARY}ray"  # in the run's folder: a file for each task that a worker is at, or died of

_OBJECTS = 128 << 20  # bytes that a cluster of this machine alone keeps of tasks and results


def results(config: Config, make: Callable[[], Work], tasks: Sequence[Any]) -> Iterator[Any]:
    """Do tasks on the cluster of ``config.ray``; results come in the order of the tasks.

    Args:
        config: The run.
        make: Makes the work, in a worker and before its first task; must be picklable.
        tasks: JSON values. Each is done to its end at least once; more often, where a worker died in it.

    Raises:
        DataError: If Ray is not installed or not there, a task fails, or :data:`TRIES` workers die of one.
    """
    if not tasks:
        return
    with connected(config) as ray:
        from ray.data import ActorPoolStrategy, DataContext

        context = DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False  # the stage has its own
        context.raise_original_map_exception = True
        context.execution_options.preserve_order = True
        context.execution_no_progress_timeout_s = -1  # a large part may take an hour
        settings, most = config.ray, min(config.ray.max_workers or len(tasks), len(tasks))
        with DataContext.current(context):
            begun = config.path(_BEGUN).absolute()
            remove(begun)
            begun.mkdir()
            rows = [{"task": json.dumps(task)} for task in tasks]
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Worker,
                fn_constructor_args=(make, begun),
                batch_size=1,
                compute=ActorPoolStrategy(min_size=min(settings.min_workers, most), max_size=most),
                num_cpus=settings.cpus,
                num_gpus=settings.gpus or None,
            )
            try:
                for row in done.iter_rows():
                    yield json.loads(row["result"])
            except ray.exceptions.RayError as error:
                raise _told(error) from error
            finally:
                remove(begun)


def on_shared_disk(config: Config) -> Config:
    """The same run for processes that start in other folders."""
    return replace(config, run_dir=str(config.path().absolute()))


class _Worker:
    """What Ray Data keeps in an actor. The work is made with the first task, so that its errors are those of a task.

    Ray begins a task that lost its worker again without end, as a node may be away for long; so who begins a task looks
    how many have died of it.
    """

    def __init__(self, make: Callable[[], Work], begun: Path) -> None:
        self._make, self._begun = make, begun
        self._work: Work | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"result": [self._done(task) for task in batch["task"]]}

    def _done(self, task: str) -> str:
        name = hashlib.sha256(task.encode()).hexdigest()[:32]
        if len(list(self._begun.glob(f"{name}-*"))) >= TRIES:
            raise DataError(
                f"{TRIES} workers died of the same task, {task[:80]} (out of memory, perhaps: see Ray's logs); "
                "what was written is kept, and the same command goes on"
            )
        mark = self._begun / f"{name}-{uuid.uuid4().hex}"
        mark.touch()
        try:
            self._work = self._work or self._make()
            return json.dumps(self._work(json.loads(task)))
        finally:
            mark.unlink(missing_ok=True)


@contextmanager
def connected(config: Config) -> Iterator[Any]:
    """The module ``ray``, connected to the cluster of ``config.ray``; one that is connected already stays so.

    Raises:
        DataError: If Ray is not installed, or does not answer.
    """
    if share_of()[1] > 1:
        raise DataError("engine: ray starts its own workers; start it without torchrun or accelerate launch")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when a cluster starts
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of the lines on this terminal
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DataError(f"engine: ray needs a package ({error}); pip install 'mmreason[ray]'") from None
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # beside the log file: errors come as one line of ours
            handler.setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield ray
        return
    address = config.ray.address or os.environ.get("RAY_ADDRESS", "")  # of a job submitted to a cluster
    local: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": _OBJECTS}
    try:
        if ":" in address and "://" not in address:  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError) as error:  # of connections and time, too
        raise DataError(f"no Ray cluster answers at {address or 'this machine'}: {_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _told(error: Exception) -> DataError:
    """What a user can do about a task that failed."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, DataError):
        return DataError(_line(cause))
    if cause is not None:
        return DataError(f"a worker failed: {type(cause).__name__}: {_line(cause)} (--debug shows where)")
    last = str(error).strip().splitlines()[-1:]  # Ray puts the cause at the end
    return DataError(
        f"Ray gave up, {type(error).__name__}: {''.join(last)}; mend it, and the same command goes on"
    )


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
