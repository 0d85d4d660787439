"""Attacks in catalogue texts and inferences about a person reach no reader (``benchmarks/safety.py``)."""

from __future__ import annotations

from pathlib import Path

import pytest
import safety
from bars import Bars


@pytest.mark.parametrize("part", [safety.attacks, safety.inferences], ids=["attacks", "inferences"])
def test_nothing_reaches_a_reader_and_what_is_harmless_is_told(part, tmp_path: Path) -> None:
    bars = Bars("safety")
    part(tmp_path, bars)
    assert bars.met and all(bars.met)
