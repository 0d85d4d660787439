"""Which of several processes this is, and work that one of them does for all."""

from __future__ import annotations

import atexit
import gc
import os
import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from mmreason.schema import DataError

T = TypeVar("T")
Share = tuple[int, int]
"""Number from 1, and of how many."""

STEP_TIMEOUT = timedelta(hours=2)  # how long a process waits for the others in a step of a training
WORK_TIMEOUT = timedelta(days=30)  # how long for work that the first does alone; a death is noticed at once


def share_of(shard: str = "") -> Share:
    """Which share of the work is this process's.

    Args:
        shard: ``i/n`` with 1 ≤ i ≤ n, or empty: the process's number under ``accelerate launch`` or ``torchrun``.

    Raises:
        DataError: If it is not of that form.

    Example:
        >>> share_of("2/4")
        (2, 4)
    """
    if not shard:
        return int(os.environ.get("RANK", 0)) + 1, int(os.environ.get("WORLD_SIZE", 1))
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise DataError(f"embed.shard is {shard!r}; write i/n with i from 1 to n, such as 2/4")
    return int(match[1]), int(match[2])


def is_running(pid: int) -> bool:
    """Whether a process of this machine is alive, whoever's it is.

    Example:
        >>> is_running(os.getpid())
        True
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # of another user
    return True


def is_main_process() -> bool:
    """Whether this is the process that writes and prints: the first of those launched, or the only one."""
    return share_of()[0] == 1


def join_processes() -> None:
    """Meet the other processes that ``torchrun`` or ``accelerate launch`` started; alone, do nothing.

    Messages go by gloo, between GPUs by NCCL, unless there are fewer GPUs than processes: NCCL wants one for each.
    Whatever asks first, a training or :func:`on_main_process`, sets up the group that all then share.
    """
    if share_of()[1] == 1:
        return
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        here = int(os.environ.get("LOCAL_WORLD_SIZE", share_of()[1]))
        gpus = dist.is_nccl_available() and here <= torch.cuda.device_count()
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=STEP_TIMEOUT)
        atexit.register(_leave)


def on_main_process(work: Callable[[], T]) -> T:
    """Run work in the first process alone, while the others wait; all get its result.

    Every process must call it. A process that is alone just runs the work, and imports no torch.

    Args:
        work: Takes nothing and returns something small, such as the summary of a stage.

    Returns:
        What the work returned.

    Raises:
        DataError: In the others, if the work failed or the first process died.
        Exception: In the first process, what the work raised.

    Example:
        >>> on_main_process(lambda: "360 items")
        '360 items'
    """
    number, of = share_of()
    if of == 1:
        return work()
    join_processes()
    group = _waiting_group()  # met before the work: whoever dies in it was there, and is missed at once
    if number > 1:
        failure, result = _from_main(group)
        if failure:
            raise DataError(f"the first process failed: {failure}")
        return result
    try:
        result = work()
    except BaseException as error:
        _to_others(group, str(error) or type(error).__name__, None)
        raise
    _to_others(group, "", result)
    return result


def wait_for_others(told: Any = None) -> list[Any]:
    """Go on when every process got here; alone, at once.

    Args:
        told: Something small that the others learn.

    Returns:
        What each process told, in their order.

    Raises:
        DataError: If another process died.

    Example:
        >>> wait_for_others("360 items")
        ['360 items']
    """
    of = share_of()[1]
    if of == 1:
        return [told]
    join_processes()
    import torch.distributed as dist

    found: list[Any] = [None] * of
    try:
        dist.all_gather_object(found, told, group=_waiting_group())
    except RuntimeError as error:
        raise DataError(f"another process died ({str(error).splitlines()[0][:120]}); run again") from error
    return found


def _to_others(group: Any, failure: str, result: Any) -> None:
    import torch.distributed as dist

    dist.broadcast_object_list([failure, result], src=0, group=group)


def _from_main(group: Any) -> tuple[str, Any]:
    import torch.distributed as dist

    told: list[Any] = [None, None]
    try:
        dist.broadcast_object_list(told, src=0, group=group)
    except RuntimeError as error:
        cause = str(error).splitlines()[0][:120]
        raise DataError(f"the first process died ({cause}); look at its output and run again") from error
    return told[0], told[1]


@cache
def _waiting_group() -> Any:
    """The same processes, with more patience."""
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=WORK_TIMEOUT)


def _leave() -> None:
    """Say goodbye before the interpreter goes, so that no thread of the group outlives it."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def collect_rarely() -> None:
    """Let the garbage collector pass over what is held now, and look at what is new less often.

    For a job that keeps a catalogue to its end: by default a fifth of its time goes into looking at that again.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
