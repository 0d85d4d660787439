"""Probes are calibrated on what they have not seen, and kept only where they see and do not guess."""

from __future__ import annotations

import numpy as np
import pytest

from mmreason.probes.calibrated import Probe
from mmreason.probes.calibration import Known, at_least
from mmreason.probes.colors import basic_color


def _known(
    values: list[str], others: list[dict[str, str]] | None = None, domains: list[str] | None = None
) -> Known:
    n = len(values)
    return Known(
        values, np.arange(n), domains or [""] * n, others or [{}] * n, {v: v.title() for v in values}
    )


def test_what_another_attribute_tells_as_well_is_a_guess() -> None:
    values = ["wool", "silk"] * 60
    seen = np.array([[1.0, 0], [0, 1.0]] * 60) * 5 + np.random.default_rng(0).normal(size=(120, 2)) * 0.3
    assert Probe.fit("material", _known(values), seen) is not None
    others = [{"category": "hats" if value == "wool" else "ties"} for value in values]
    assert Probe.fit("material", _known(values, others), seen) is None


def test_a_domain_in_which_it_errs_is_read_less() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=400)
    domains = ["shop", "video"] * 200
    features = np.eye(2)[truth] * 6 + rng.normal(size=(400, 2)) * 0.5
    lost = (np.array(domains) == "video") & (rng.random(400) < 0.2)
    features[lost] = features[lost][:, ::-1]  # a clip in which one in five shows something else
    probe = Probe.fit("color", _known([("red", "blue")[t] for t in truth], domains=domains), features)
    assert probe is not None
    read = [sum(map(bool, (name for (name, _), d in zip(probe.held_out, domains, strict=True) if d == each)))
            for each in ("shop", "video")]  # fmt: skip
    assert read[0] > 180 and read[1] < 60


def test_shades_that_look_alike_are_called_by_their_basic_colour() -> None:
    rng = np.random.default_rng(0)
    values = ["navy", "cobalt", "crimson", "ruby"] * 40
    basic = np.array([[1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0]] * 40)
    probe = Probe.fit("colour", _known(values), basic * 5 + rng.normal(size=(160, 2)) * 0.3)
    assert probe is not None and [level.names for level in probe.levels] == [["blue", "red"]]
    chinese = [
        {"navy": "藏蓝", "cobalt": "宝蓝", "crimson": "深红", "ruby": "酒红"}[value] for value in values
    ]
    probe = Probe.fit("颜色", _known(chinese), basic * 5 + rng.normal(size=(160, 2)) * 0.3)
    assert probe is not None and [level.names for level in probe.levels] == [["蓝色", "红色"]]


@pytest.mark.parametrize(
    ("value", "term"),
    [
        ("Heather Gray", "gray"),
        ("off-white", "white"),
        ("枣红色", "red"),
        ("rose gold", "yellow"),
        ("Calm", ""),
    ],
)
def test_basic_colours(value: str, term: str) -> None:
    assert basic_color(value) == term


def test_small_samples_promise_little() -> None:
    right = np.array([5, 19, 97, 970])
    assert np.round(at_least(right, np.array([5, 19, 100, 1000])), 2).tolist() == [0.83, 0.95, 0.95, 0.96]
