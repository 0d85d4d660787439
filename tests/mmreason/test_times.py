"""Times as programs write them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.times import EARLIEST, LATEST, moment

DAY, MOMENT = 1_699_920_000.0, 1_700_000_000.0


@pytest.mark.parametrize(
    "value",
    [
        *(
            "20231114",
            20231114,
            "2023-11-14",
            "2023/11/14",
            "14.11.2023",
            "14/11/2023",
            "11/14/2023",
            45244,
            "45244.0",
        ),
        *("Nov 14, 2023", "14 November 2023", "2023-11-14UTC", "11 14, 2023", "2023-11-14T00:00:00Z"),
        *("2023-11-13 19:00:00 -0500", "20231114 00:00", 202311140000),
        *(
            "14/11/23",
            "11/14/23",
            "14.11.23",
            "14-Nov-2023",
            "14/Nov/23",
            "14-November-2023",
            "2023年11月14日",
        ),
        *(
            "14/Nov/2023:00:00:00 +0000",
            "2023-11-14 01:00 CET",
            "2023-11-13 19:00:00 est",
            "2023年11月14日 0:00",
        ),
    ],
)
def test_days(value: Any) -> None:
    assert moment(value) == DAY


@pytest.mark.parametrize(
    "value",
    [
        *(1_700_000_000, "1700000000.0", 1_700_000_000_000, 1_700_000_000_000_000, "1700000000000000000"),
        *(
            "20231114221320",
            "2023-11-14 22:13:20 UTC",
            "2023-11-14T23:13:20+01:00",
            "2023-11-14 23:13:20 +0100",
        ),
        *("11/14/2023 10:13:20 PM", "Tue, 14 Nov 2023 22:13:20 GMT", "Tue Nov 14 14:13:20 -0800 2023"),
        *("14.11.2023 22:13:20", "2023-11-14 22:13:20.000 UTC", "November 14, 2023, 10:13:20 pm"),
    ],
)
def test_moments(value: Any) -> None:
    assert moment(value) == MOMENT


@pytest.mark.parametrize(
    "value",
    [
        *(
            "900",
            2359,
            "1",
            "99999999",
            "20231345",
            "2023-13-45",
            "1969-07-20",
            "2201-01-01",
            "11/12/2023",
            "soon",
        ),
        *(
            "inf",
            "",
            "19891231",
            -5,
            "25:00",
            "2023-11-14 25:61",
            "13:00 PM",
            "11/12/23",
            "14-11-23",
            "14-Now-2023",
        ),
        *("2023-11-14 10:00 CST", "2023年13月14日", "1/1/1"),
    ],
)
def test_what_cannot_be_a_time_is_none(value: Any) -> None:
    assert moment(value) is None


@given(st.integers(int(EARLIEST), int(LATEST) - 1), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_units_do_not_meet(seconds: int, scale: int) -> None:
    assert moment(seconds * scale) == pytest.approx(seconds) and moment(
        str(seconds * scale)
    ) == pytest.approx(seconds)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 12, 31)))
def test_iso_is_read_back(when: datetime) -> None:
    assert moment(when.isoformat()) == pytest.approx(when.replace(tzinfo=UTC).timestamp())


@given(st.text(max_size=20) | st.from_regex(r"[0-9:/ .+-]{1,20}", fullmatch=True))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = moment(text)
    assert found is None or EARLIEST <= found < LATEST + 1
