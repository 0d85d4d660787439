"""Which of several processes this is."""

from __future__ import annotations

import os
import re

from mmreason.schema import DataError

Share = tuple[int, int]
"""Number from 1, and of how many."""


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
