"""Curves become pictures that can be read, whatever the values are."""

import base64
import io
import math
import xml.etree.ElementTree as ET

import pytest

from mmreason.evaluate.plots import Curve, draw_curve, smooth


def drawn(curve: Curve) -> tuple[str, ET.Element]:
    head, _, data = draw_curve(curve).partition(",")
    assert head == "data:image/svg+xml;base64"
    svg = base64.b64decode(data).decode()
    return svg, ET.parse(io.StringIO(svg)).getroot()


def texts(root: ET.Element) -> list[str]:
    return ["".join(e.itertext()).strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_last_values_stand_in_the_legend():
    _, root = drawn(Curve("loss", [0, 50, 100], [3.0, 2.0, 1.5], valid_steps=[100], valid_values=[2.25]))
    assert {"training 1.5", "validation 2.25"} <= set(texts(root))
    _, root = drawn(Curve("loss", [0, 50, 100], [3.0, 2.0, 1.5]))
    assert not any("validation" in text for text in texts(root))


@pytest.mark.parametrize("values", [[], [math.nan, math.inf]])
def test_nothing_to_draw_is_no_picture(values):
    assert draw_curve(Curve("x", list(range(len(values))), values)) == ""


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0, 2.0], [1e-9, 2e-9], [-1e6, math.nan, 3e6]])
def test_awkward_values_are_drawn(values):
    svg, _ = drawn(Curve("x", list(range(len(values))), values))
    assert "nan" not in svg.lower().split("<g", 1)[1]


def test_long_curves_are_thinned():
    noise = [math.sin(i * i) for i in range(20_000)]
    svg, _ = drawn(Curve("x", range(20_000), noise))
    assert len(svg) < 60_000


def test_the_same_curve_gives_the_same_bytes():
    curve = Curve("x", [0, 1, 2], [1.0, 2.0, 1.0])
    assert draw_curve(curve) == draw_curve(curve)


def test_smooth():
    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)  # no pull towards zero at the start
    assert smooth([1.0, math.nan, 1.0]) == pytest.approx([1.0, 1.0, 1.0])
    assert smooth([0.0, 1.0], span=3) == pytest.approx([0.0, 2 / 3])
    assert smooth([]) == [] and math.isnan(smooth([math.nan])[0])
