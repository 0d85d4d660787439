"""Work that one of several processes does for all."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import main_process_fails, main_process_works, run_two

from mmreason.processes import on_main_process


def test_alone_it_is_just_the_work() -> None:
    assert on_main_process(lambda: 3) == 3
    with pytest.raises(KeyError):
        on_main_process(lambda: {}["gone"])


def test_one_works_and_all_get_the_result(tmp_path: Path) -> None:
    assert run_two(main_process_works, tmp_path) == [0, 0]
    assert [(tmp_path / f"told-{rank}").read_text() for rank in (0, 1)] == ["done in 0"] * 2
    assert (tmp_path / "worked").read_text() == "0"


@pytest.mark.parametrize("dies", [False, True])
def test_a_failure_or_a_death_is_told_to_those_who_wait(tmp_path: Path, dies: bool) -> None:
    assert run_two(main_process_fails, tmp_path, dies) == [9, 0]
    told = (tmp_path / "told-1").read_text()
    assert (
        told.startswith("the first process died")
        if dies
        else told == "the first process failed: no such shop"
    )
