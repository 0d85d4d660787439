import base64
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.plots import Curve
from mmreason.evaluate.report import (
    Badge,
    MetricTable,
    ReportRow,
    event_words,
    mark_evidence,
    write_report,
)
from mmreason.schema import Evidence, Interaction, Item, Reason

SHARED = Path(os.environ.get("MMREASON_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


class Page(HTMLParser):
    """Every element of a page as (tag, attributes, the text directly inside)."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict, list[str]]] = []
        self.open: list[tuple[str, dict, list[str]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in ("img", "meta", "br", "link"):
            self.open.append(element)

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.open[-1][2].append(data)

    def find(self, tag: str, kind: str = "") -> list[tuple[dict, str]]:
        return [
            (attrs, "".join(text).strip())
            for name, attrs, text in self.elements
            if name == tag and (not kind or kind in (attrs.get("class") or "").split())
        ]


def picture(colour="red", size=(60, 80)) -> Image.Image:
    return Image.new("RGB", size, colour)


def report(tmp_path, rows=(), **changes) -> tuple[Page, str]:
    parts = {
        "title": "Title",
        "subtitle": "Subtitle",
        "metrics": MetricTable(["model", "floor"], [("USR", "higher", [0.5, 0.25])]),
        "curves": [Curve("loss", [0, 1, 2], [3.0, 2.0, 1.0])],
        "facts": [("colour right", "91 % (floor 14 %)")],
        **changes,
    }
    path = tmp_path / "report.html"
    write_report(path, rows=list(rows), **parts)
    html = path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []
    return Page(html), html


def one_row(**changes) -> ReportRow:
    coat = Item(
        id="coat",
        title="Coat",
        images=[picture()],
        attributes={"material": ["wool"]},
        hidden={"color": ["red"]},
    )
    hat, sock = (Item(id=i, title=i.title(), images=[picture("blue")]) for i in ("hat", "sock"))
    history = [
        (Interaction(item_id="hat", event="click", count=3), hat),
        (Interaction(item_id="hat", event="purchase"), hat),
        (Interaction(item_id="sock", event="view", seconds=34), sock),
    ]
    evidence = [
        Evidence("color", "red", "picture", ["hat"], (2, 5)),
        Evidence("material", "wool", "attribute", [], (6, 10)),
        Evidence("style", "warm", "none", [], (12, 16)),
    ]
    values = {
        "item": coat,
        "history": history,
        "reason": Reason("u", "coat", "A red wool, warm coat", evidence, -0.25, False),
        "reference": "You like red.",
        "facts": [Badge("colour right", "good"), "plain"],
        "swapped": [("for another user", "A red linen, warm coat")],
        **changes,
    }
    return ReportRow(**values)


def test_evidence_is_marked_and_history_outlined(tmp_path):
    page, _ = report(tmp_path, [one_row()])
    marks = [(attrs["class"], text) for attrs, text in page.find("mark") if "title" in attrs]
    assert marks == [("picture", "red"), ("attribute", "wool"), ("none", "warm")]
    assert [attrs["class"].split() for attrs, _ in page.find("figure", "past")] == [
        ["past", "picture"],
        ["past"],
    ]
    assert [text for _, text in page.find("b", "picture")] == ["red"]
    captions = [text for _, text in page.find("figcaption")]
    assert captions[:2] == ["clicked 3×, bought", "viewed 34 s"]


def test_badges_swaps_tiles_and_verdict(tmp_path):
    page, html = report(tmp_path, [one_row()])
    tags = {text: attrs["class"].split() for attrs, text in page.find("span", "tag")}
    assert tags["colour right"] == ["tag", "good"]
    assert tags["plain"] == ["tag"]
    assert tags["✗ not verified"] == ["tag", "bad"]
    assert [text for _, text in page.find("em")] == ["linen,"]
    tile = html[html.index('class="tile"') :]
    assert re.search(r"<b>91 %</b><span[^>]*>floor 14 %</span>", tile)
    assert "You like red." in html


ATTACK = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


def test_every_text_is_escaped(tmp_path):
    item = Item(
        id=ATTACK, title=ATTACK, domain=ATTACK, attributes={ATTACK: [ATTACK]}, hidden={ATTACK + "h": [ATTACK]}
    )
    evidence = [
        Evidence(ATTACK, ATTACK, ATTACK, [ATTACK], (0, 8)),
        Evidence(ATTACK, ATTACK, "picture", [ATTACK], None),
    ]
    step = Interaction(item_id=ATTACK)
    step.event = ATTACK  # none that the constructor lets in
    row = ReportRow(
        item,
        [(step, item)],
        Reason("u", ATTACK, ATTACK, evidence),
        ATTACK,
        [ATTACK, Badge(ATTACK, ATTACK)],
        [(ATTACK, ATTACK)],
    )
    page, html = report(
        tmp_path,
        [row],
        title=ATTACK,
        subtitle=ATTACK,
        metrics=MetricTable([ATTACK], [(ATTACK, "higher", [1.0])], [ATTACK], {ATTACK: ATTACK}),
        curves=[Curve(ATTACK, [], [])],
        facts=[(ATTACK, f"{ATTACK} ({ATTACK})")],
    )
    assert not page.find("script") and not page.find("img")
    assert not any(name.startswith("on") for _, attrs, _ in page.elements for name in attrs)
    assert html.count("&lt;script&gt;") > 20
    assert page.find("title")[0][1] == ATTACK


def test_is_self_contained(tmp_path):
    page, html = report(tmp_path, [one_row()])
    for _, attrs, _ in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert attrs.get(name, "#").startswith(
                ("data:image/jpeg;base64,", "data:image/svg+xml;base64,", "#")
            )
    assert "url(" not in html and "@import" not in html and "http://" not in html and "https://" not in html
    policy = next(
        a["content"] for a, _ in page.find("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not page.find("script") and not page.find("link")


def test_missing_and_broken_media_become_placeholders(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    items = [
        Item(id="a", images=[str(tmp_path / "absent.jpg")]),
        Item(id="b", images=[str(tmp_path / "broken.jpg")]),
        Item(id="c", video=str(tmp_path / "absent.mp4")),
        Item(id="d"),
        Item(id="e", images=[str(tmp_path / "absent.jpg"), picture()]),
    ]
    path = tmp_path / "report.html"
    rows = [
        ReportRow(item, [(Interaction(item_id="a"), items[0])], Reason("u", item.id, "text"))
        for item in items
    ]
    bad = write_report(
        path, title="", subtitle="", rows=rows, metrics=MetricTable([], []), curves=[], facts=[]
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert [text for _, text in page.find("div", "hole")] == [
        text for main in ["cannot be read"] * 3 + ["no picture"] for text in (main, "a")
    ] + ["a"]
    assert len(page.find("img")) == 1
    assert sorted({Path(re.split(r": ", line)[0]).name for line in bad}) == [
        "absent.jpg",
        "absent.mp4",
        "broken.jpg",
    ]


def test_pictures_are_small_jpegs_from_bytes_paths_and_images(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((900, 1200), 80).convert("RGBA").save(buffer, "PNG")
    (tmp_path / "big.png").write_bytes(buffer.getvalue())
    sources = [buffer.getvalue(), str(tmp_path / "big.png"), Image.open(io.BytesIO(buffer.getvalue()))]
    page, _ = report(
        tmp_path,
        [ReportRow(Item(id=str(i), images=[s]), [], Reason("u", "i", "x")) for i, s in enumerate(sources)],
        curves=[],
    )
    images = [base64.b64decode(attrs["src"].partition(",")[2]) for attrs, _ in page.find("img")]
    assert len(images) == 3
    for data in images:
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("JPEG", (165, 220))


def test_file_size_is_bounded(tmp_path):
    noise = [Item(id=str(i), images=[Image.effect_noise((640, 640), 120)]) for i in range(30)]
    history = [(Interaction(item_id=item.id), item) for item in noise]
    rows = [ReportRow(noise[i], history, Reason("u", str(i), "x")) for i in range(6)]
    page, html = report(tmp_path, rows)
    assert len(html) < 6 * 10 * 40_000  # even for noise, the worst that JPEG can get
    assert len(page.find("figure", "past")) == 6 * 9
    assert "21 more not shown" in html


def test_history_that_is_evidence_is_always_shown(tmp_path):
    items = [Item(id=f"i{n}", title=f"Item {n}") for n in range(20)]
    row = one_row(
        history=[(Interaction(item_id=i.id), i) for i in items],
        reason=Reason("u", "coat", "red", [Evidence("color", "red", "attribute", ["i1"], (0, 3))]),
    )
    page, _ = report(tmp_path, [row])
    shown = [attrs["title"] for attrs, _ in page.find("figure", "past")]
    assert shown == ["Item 1", *(f"Item {n}" for n in range(12, 20))]


def test_other_scripts_survive(tmp_path):
    text = "喜欢红色的你，مرحبا 👋🏽 café"
    row = one_row(
        reason=Reason("u", "coat", text, [Evidence("颜色", "红色", "attribute", [], (2, 4))]), swapped=[]
    )
    page, html = report(tmp_path, [row], title="理由 \ud800")
    assert ("红色" in [t for a, t in page.find("mark") if "title" in a]) and "مرحبا 👋🏽 café" in html


def test_metric_table_marks_the_best_and_explains(tmp_path):
    table = MetricTable(
        ["model", "floor", "other"],
        [
            ("USR-12", "higher", [0.5, 0.9, None]),
            ("DIV", "lower", [0.25, 0.5, float("nan")]),
            ("colour right", "higher", [Proportion(9, 10), Proportion(9, 10), Proportion(1, 10)]),
            ("length", "", [12.0, 15.0, 1.0]),
        ],
        notes=["a note"],
        explain={"colour": "mine"},
    )
    page, html = report(tmp_path, metrics=table)
    cells = [("best" in (attrs.get("class") or ""), text) for attrs, text in page.find("td")]
    assert cells == [
        (False, "0.500"), (True, "0.900"), (False, "–"),
        (True, "0.250"), (False, "0.500"), (False, "–"),
        (True, "90.0 %"), (True, "90.0 %"), (False, "10.0 %"),
        (False, "12.0"), (False, "15.0"), (False, "1.0"),
    ]  # fmt: skip
    titles = [attrs.get("title", "") for attrs, _ in page.find("th") if attrs.get("scope")]
    assert "first 12 words" in titles[0] and titles[2:] == ["mine", ""]
    assert "9/10" in page.find("td")[6][0]["title"] and "a note" in html


def test_metric_table_with_a_missing_value_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="1 values for 2 columns"):
        report(tmp_path, metrics=MetricTable(["a", "b"], [("USR", "higher", [1.0])]))


def test_overlapping_spans_show_the_weakest_evidence():
    evidence = [
        Evidence("a", "dark red", "attribute", span=(2, 10)),
        Evidence("b", "red", "none", span=(7, 10)),
        Evidence("c", "red coat", "picture", span=(7, 15)),
    ]
    pieces = mark_evidence("A dark red coat.", evidence)
    assert [(text, source) for text, source, _ in pieces] == [
        ("A ", ""), ("dark ", "attribute"), ("red", "none"), (" coat", "picture"), (".", ""),
    ]  # fmt: skip
    assert pieces[2][2].count(";") == 2


@given(
    st.text(max_size=30),
    st.lists(
        st.tuples(st.integers(-5, 40), st.integers(-5, 40), st.sampled_from(["attribute", "none", "?"])),
        max_size=5,
    ),
)
def test_marked_pieces_join_to_the_text(text, spans):
    pieces = mark_evidence(
        text, [Evidence("a", "v", source, span=(start, end)) for start, end, source in spans]
    )
    assert "".join(piece for piece, _, _ in pieces) == text
    position = 0
    for piece, source, _ in pieces:
        inside = any(max(0, s) <= position and position + len(piece) <= e for s, e, _ in spans)
        assert bool(source) == inside
        position += len(piece)


@pytest.mark.parametrize(
    ("interaction", "words"),
    [
        (Interaction(event="purchase"), "bought"),
        (Interaction(event="click", count=3), "clicked 3×"),
        (Interaction(event="view"), "viewed"),
        (Interaction(event="view", seconds=33.6), "viewed 34 s"),
        (Interaction(event="view", seconds=125, count=2), "viewed 2 min 5 s 2×"),
        (Interaction(event="watch", seconds=9), "watched 9 s"),
        (Interaction(event="read", seconds=3700), "read 1 h 1 min"),
        (Interaction(event="rating", rating=5.0), "rated 5"),
        (Interaction(event="review", rating=4.5), "reviewed, rated 4.5"),
        (Interaction(event="impression"), "was shown"),
        (Interaction(event="cart"), "in the cart"),
    ],
)
def test_event_words(interaction, words):
    assert event_words(interaction) == words


def test_a_film_is_watched():
    assert event_words(Interaction(event="view", seconds=34), film=True) == "watched 34 s"


def test_video_becomes_a_strip_of_frames(tmp_path):
    clip = SHARED / "video" / "asl_gestures" / "milk.mkv"
    if not clip.exists():
        pytest.skip(f"no {clip}: set MMREASON_SHARED_DATA")
    item = Item(id="milk", video=str(clip))
    page, _ = report(
        tmp_path,
        [ReportRow(item, [(Interaction(item_id="milk", event="view"), item)], Reason("u", "milk", "x"))],
    )
    assert sum(attrs["src"].startswith("data:image/jpeg") for attrs, _ in page.find("img")) == 5 + 1
    assert len(page.find("div", "film")) == 1
