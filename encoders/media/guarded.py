"""Decoding in processes that may be killed: a file that hangs or crashes a decoder costs one error, not the job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from types import TracebackType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from encoders.media.errors import MediaError, MediaWarning, name_of

# Forked into every worker, so that a new one is there in milliseconds and not after importing torch.
_PRELOAD = ["encoders.image", "encoders.media.frames"]

_START_SECONDS = 5.0


class GuardedPool:
    """Applies a function to inputs in worker processes, with a time limit for each input.

    A worker that is over the limit, even inside C code that takes no signals, or that dies (a segmentation
    fault, the kernel's out-of-memory killer) is replaced; its input gives one :class:`MediaError` and the
    others go on. Built on `pebble <https://pebble.readthedocs.io>`_.

    Args:
        function: Picklable and small, such as ``encoder.preprocessing``: raw input → result. It is sent once
            to each worker. Tensors in its result travel as NumPy arrays and come back as tensors.
        workers: Number of processes; default: one per processor.
        timeout: Seconds that one input may take, counted from when a worker takes it up.
        ahead: Inputs taken from the iterator before their results are asked for, at most; default: four per
            worker. It bounds memory.

    Attributes:
        flaws: How many :class:`encoders.media.errors.MediaWarning` the workers have given so far.

    Example:
        >>> from encoders import create_encoder
        >>> encoder = create_encoder("timm:resnet18")
        >>> with GuardedPool(encoder.preprocessing, workers=1, timeout=20) as pool:
        ...     [isinstance(result, MediaError) for result in pool.map(["a.jpg", "gone.jpg"])]
        [False, True]
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        workers: int | None = None,
        timeout: float = 30.0,
        ahead: int | None = None,
    ) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout}")
        self.workers = workers or os.cpu_count() or 1
        self.timeout = timeout
        self.ahead = ahead or 4 * self.workers
        # Not plain fork: a fork of a process whose torch threads hold a lock hangs.
        method = "spawn" if sys.platform == "win32" else "forkserver"
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(_PRELOAD)
        self.flaws = 0
        self._started = context.Semaphore(0)
        initial = (function, self._started)
        self._pool = ProcessPool(self.workers, initializer=_install, initargs=initial, context=context)
        self._used = False

    def map(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """One result or one :class:`MediaError` (returned, not raised) per input, in order, as they are ready.

        Inputs are taken lazily, at most ``ahead`` of them before their results are.

        Raises:
            Exception: Whatever the function raises other than MediaError: a bug, not a broken file.
        """
        waiting: deque[tuple[Any, Any]] = deque()
        try:
            for raw in inputs:
                self._used = True
                waiting.append((raw, self._pool.schedule(_call, args=[raw], timeout=self.timeout)))
                if len(waiting) >= self.ahead:
                    yield self._result(*waiting.popleft())
            while waiting:
                yield self._result(*waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()

    def close(self) -> None:
        """Stop the workers; what they were doing is lost."""
        # Pebble removes its locks before it stops the workers: one that is still starting would print a traceback.
        for _ in range(self.workers if self._used else 0):
            if not self._started.acquire(timeout=_START_SECONDS):
                break
        self._used = False
        self._pool.stop()
        self._pool.join()

    def __enter__(self) -> GuardedPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _result(self, raw: Any, future: Any) -> Any:
        try:
            result, flaws = future.result()
            self.flaws += flaws
            return _unpacked(result)
        except FutureTimeout:
            return MediaError(f"{name_of(raw)}: not read within {self.timeout:g} seconds; given up")
        except ProcessExpired as expired:
            return MediaError(f"{name_of(raw)}: crashed its decoder ({_how(expired.exitcode)})")


_function: Callable[[Any], Any] | None = None


def _install(function: Callable[[Any], Any], started: Any) -> None:
    """Once in each worker."""
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)  # the workers are the parallelism
    started.release()


def _call(raw: Any) -> tuple[Any, int]:
    """The function's result or its MediaError, and how many MediaWarnings it gave."""
    assert _function is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MediaWarning)
        try:
            result = _packed(_function(raw))
        except MediaError as error:
            result = error
        except MemoryError:
            result = MediaError(f"{name_of(raw)}: needs more memory than there is")
    return result, sum(issubclass(one.category, MediaWarning) for one in caught)


class _Array:
    """A tensor as an array: a tensor itself would travel by a file descriptor that its process must outlive."""

    def __init__(self, array: Any) -> None:
        self.array = array


def _packed(result: Any) -> Any:
    torch = sys.modules.get("torch")
    return _Array(result.numpy()) if torch and isinstance(result, torch.Tensor) else result


def _unpacked(result: Any) -> Any:
    if isinstance(result, _Array):
        import torch

        return torch.from_numpy(result.array)
    return result


def _how(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit status {exitcode}"
