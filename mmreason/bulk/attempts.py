"""A request that fails costs one row, and too many that fail stop the job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from encoders.errors import MediaError
from mmreason.schema import DataError, Item, Reason, User

Pair = tuple[User, Item]
Write = Callable[[list[Pair]], Sequence[Reason | str]]
"""Reasons for some pairs, in order; where a request alone failed, its error in place of a reason."""

MIN_TRIED = 100
"""Requests before a rate of failures counts."""


class TooManyFailed(DataError):
    """More requests failed than may."""


class Attempts:
    """Calls a writer; where it fails, by halves, until those that fail are alone, and these once more.

    A request whose error the writer gives in its place has failed; it is not tried again.

    Args:
        write: The writer.
        max_failures: Share of the requests that may fail, counted from :data:`MIN_TRIED` on.

    Attributes:
        tried: Requests so far.
        failed: Those of them that failed.

    Example:
        >>> attempts = Attempts(lambda pairs: [Reason(user.id, item.id, "Warm.") for user, item in pairs])
        >>> [reason.text for reason in attempts([(User("ann"), Item("coat"))])]
        ['Warm.']
    """

    def __init__(self, write: Write, max_failures: float = 1.0) -> None:
        self._write, self._max_failures = write, max_failures
        self.tried = self.failed = 0

    def __call__(self, pairs: Sequence[Pair]) -> list[Reason | str]:
        """A reason for each pair, or the error in its place.

        Raises:
            TooManyFailed: If more failed than may.
        """
        some = list(pairs)
        if not some:
            return []
        try:
            return self._asked(some)
        except TooManyFailed:
            raise
        except Exception:
            if len(some) == 1:
                return [self._once_more(some)]
        half = len(some) // 2
        return [*self(some[:half]), *self(some[half:])]

    def _asked(self, some: list[Pair]) -> list[Reason | str]:
        reasons: list[Reason | str] = [*self._write(some)]
        if len(reasons) != len(some):
            raise DataError(f"the writer gave {len(reasons)} reasons for {len(some)} requests")
        self.tried += len(some)
        errors = [each for each in reasons if isinstance(each, str)]
        self._note_failed(errors)
        return reasons

    def _once_more(self, one: list[Pair]) -> Reason | str:
        try:
            return self._asked(one)[0]
        except TooManyFailed:
            raise
        except Exception as error:
            self.tried += 1
            told = _told(error)
            self._note_failed([told])
            return told

    def _note_failed(self, errors: Sequence[str]) -> None:
        self.failed += len(errors)
        if errors and self.tried >= MIN_TRIED and self.failed > self._max_failures * self.tried:
            raise TooManyFailed(
                f"{self.failed:,} of {self.tried:,} requests failed (generate.max_failures is "
                f"{self._max_failures:g}), the last one with: {errors[-1]}; what was written is kept: mend the cause, "
                "or raise generate.max_failures, and run the same command again"
            )


def _told(error: Exception) -> str:
    """An error in a line; its kind, too, where its text is not made for people."""
    text = " ".join(str(error).split())
    return text if isinstance(error, DataError | MediaError) and text else f"{type(error).__name__}: {text}"
