import math
import re
import xml.etree.ElementTree as ET

import pytest

from mmreason.evaluate.plots import MAX_POINTS, WIDTH, Curve, curve_svg, legend, smooth, ticks


def points(svg: str, kind: str) -> list[tuple[float, float]]:
    line = re.search(rf'class="line {kind}" points="([^"]*)"', svg)
    return [tuple(map(float, p.split(","))) for p in line[1].split()] if line else []


def test_a_falling_loss_is_drawn_downwards_from_left_to_right():
    svg = curve_svg(Curve("loss", [0, 50, 100], [3.0, 2.0, 1.0]))
    ET.fromstring(svg)
    raw = points(svg, "raw")
    assert [x for x, _ in raw] == sorted(x for x, _ in raw)
    assert raw[0][1] < raw[1][1] < raw[2][1]  # y grows downwards in SVG
    assert raw[1][0] == pytest.approx((raw[0][0] + raw[2][0]) / 2, abs=0.1)
    assert raw[2][0] <= WIDTH
    assert points(svg, "bold") and not points(svg, "valid")


def test_only_long_curves_are_smoothed():
    few, many = [1.0, 5.0] * 5, [1.0, 5.0] * 20
    svg = curve_svg(Curve("x", range(10), few))
    assert points(svg, "bold") == points(svg, "raw")
    svg = curve_svg(Curve("x", range(40), many))
    heights = [y for _, y in points(svg, "bold")[20:]]
    assert max(heights) - min(heights) < 0.6 * (max(y for _, y in points(svg, "raw")) - min(heights))
    svg = curve_svg(Curve("x", range(40), many, smoothed=many))
    assert points(svg, "bold") == points(svg, "raw")


def test_both_series_share_the_axes():
    svg = curve_svg(Curve("loss", [0, 10], [2.0, 1.0], valid_steps=[10], valid_values=[1.0]))
    assert points(svg, "valid")[0] == points(svg, "bold")[1]
    assert svg.count("<circle") == 1


@pytest.mark.parametrize(
    "values", [[], [math.nan, math.inf], [1.0], [2.0, 2.0, 2.0], [1e-9, 2e-9], [-1e6, 3e6]]
)
def test_awkward_values_give_valid_svg(values):
    svg = curve_svg(Curve("x", list(range(len(values))), values))
    ET.fromstring(svg)
    assert "nan" not in svg and "inf" not in svg


def test_long_curves_are_thinned_and_keep_their_end():
    svg = curve_svg(Curve("x", range(10_000), [float(i) for i in range(10_000)]))
    assert len(points(svg, "raw")) <= MAX_POINTS
    assert points(svg, "raw")[-1][0] == pytest.approx(WIDTH - 14)


def test_names_are_escaped():
    svg = curve_svg(Curve('"><script>', [0, 1], [0.0, 1.0]))
    assert "<script>" not in svg
    ET.fromstring(svg)


def test_smooth():
    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)  # no pull towards zero at the start
    assert smooth([1.0, math.nan, 1.0]) == pytest.approx([1.0, 1.0, 1.0])
    assert smooth([0.0, 1.0], span=3) == pytest.approx([0.0, 2 / 3])


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert ticks(0.37, 4.1) == [1, 2, 3, 4]
    assert ticks(5, 5) == [5]


def test_legend_names_the_series_there_are():
    curve = Curve("x", [0], [1.5], valid_steps=[0], valid_values=[2.25], valid_label="unseen")
    assert legend(curve) == [("bold", "training", "1.5"), ("valid", "unseen", "2.25")]
    assert legend(Curve("x", [], [])) == []
