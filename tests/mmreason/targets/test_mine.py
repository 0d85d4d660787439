"""Mining reasons from reviews: sentences verbatim, opinions with their aspect and polarity, nothing lost."""

from collections import Counter
from pathlib import Path

import pytest

from mmreason.catalogue.catalogue import Catalogue, read_catalogue, write_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.catalogue.tables import read_table
from mmreason.cli import main
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.language import is_chinese
from mmreason.reviews.aspects import Lexicon
from mmreason.reviews.miner import Miner
from mmreason.reviews.sentences import sentences
from mmreason.schema import DataError, Evidence, Interaction, Item, Reason
from mmreason.shards.histories import history_before
from mmreason.targets.mine import SOURCE, Counts, mine, mine_reasons

pytest.importorskip("vaderSentiment")
pytest.importorskip("textblob")
pytest.importorskip("jieba")


@pytest.fixture(scope="module")
def miner() -> Miner:
    return Miner(Lexicon.seed())


def _review(user: str, item: str, text: str, rating: float | None = 5, time: float = 0) -> Interaction:
    return Interaction(user, item, "review", rating=rating, text=text, timestamp=time)


def test_reasons_are_verbatim_with_evidence(miner: Miner) -> None:
    text = "Got it for my son. It is warm. Soft, light and stylish! Arrived late. Not heavy."
    counts = Counts()
    (reason,) = mine([(_review("u", "a", text), False)], miner, 3, 2, counts)
    assert reason.text == "It is warm. Soft, light and stylish!"
    for claim in reason.evidence:
        assert claim.source == "review" and claim.polarity == 1 and claim.span is not None
        assert claim.opinion in reason.text[slice(*claim.span)]
    assert [c.attribute for c in reason.evidence] == ["warmth", "comfort", "weight", "look"]
    assert counts.sentences == Counter(
        {"kept": 2, "names no opinion of an aspect": 1, "about delivery": 1, "beyond a review's best": 1}
    )
    (reason,) = mine([(_review("u", "a", "面料舒服。颜色好看！"), False)], miner, 3, 2, Counts())
    assert reason.text == "面料舒服。颜色好看！"


def test_every_review_is_accounted_for(miner: Miner) -> None:
    reviews = [
        _review("u", "a", "So soft."),
        _review("u", "a", "So warm."),
        _review("v", "a", "So soft.", rating=2),
        _review("w", "a", "So soft.", rating=None),
        _review("x", "a", "Meh."),
        _review("y", "a", "So soft."),
    ]
    counts = Counts()
    mined = mine([(review, review.user_id == "y") for review in reviews], miner, 3, 2, counts)
    assert [reason.user_id for reason in mined] == ["u", "w"]
    causes = {"kept": 2, "pair has a reason already": 2, "rated below 3": 1, "no sentence says why": 1}
    assert counts.reviews == Counter(causes)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    items = {name: Item(name, name, split=split) for name, split in (("a", "train"), ("b", "test"))}  # type: ignore[arg-type]
    interactions = [
        _review("u", "a", "So soft. Love the color!", time=10),
        _review("u", "b", "Great for hiking.", time=20),
        _review("v", "a", "Bad."),
        Interaction("v", "b"),
    ]
    own = [Reason("v", "a", "Because.", [Evidence("fit", "slim")])]
    write_catalogue(Catalogue(items, interactions, own, tmp_path), tmp_path / "catalogue")
    return tmp_path


def test_the_verb_merges_and_may_run_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["mine-reasons", "--run_dir", str(run)])
    out = capsys.readouterr().out
    assert "3 reviews read = 2 kept + 1 skipped (1 pair has a reason already)" in out and "learned" in out
    catalogue = read_catalogue(run / "catalogue")
    mined = [r for r in catalogue.reasons if any(claim.source == SOURCE for claim in r.evidence)]
    assert [(r.item_id, r.split) for r in mined] == [("a", "train"), ("b", "test")] and len(
        catalogue.reasons
    ) == 3
    for reason in mined:
        history = history_before([i for i in catalogue.interactions if i.user_id == "u"], reason)
        assert reason.item_id not in {i.item_id for i in history}
        assert not any(reason.text in i.text for i in history)
    before = (run / "mined" / "reasons.parquet").read_bytes()
    main(["mine-reasons", "--run_dir", str(run)])
    out = capsys.readouterr().out
    assert "read:" in out and "2 reasons mined (1 test, 1 train), 1 of the source's own" in out
    assert (run / "mined" / "reasons.parquet").read_bytes() == before
    assert len(read_table(run / "catalogue" / "reasons.parquet", Reason)) == 1  # the source's own stays
    assert sorted(path.name for path in (run / "mined").iterdir()) == ["aspects.yaml", "reasons.parquet"]


def test_no_reviews_is_named(tmp_path: Path) -> None:
    write_catalogue(Catalogue({"a": Item("a")}, [], [], tmp_path), tmp_path / "catalogue")
    with pytest.raises(DataError, match="no interaction has a text"):
        mine_reasons(str(tmp_path))


def test_sample_shop(shared_data: Path, tmp_path: Path) -> None:
    config = Config(
        run_dir=str(tmp_path),
        catalogue=CatalogueConfig("magento", str(shared_data / "magento")),
        simulate=SimulateConfig(users=0),
    )
    ingest(config)
    reviews = {(i.user_id, i.item_id): i.text for i in read_catalogue(tmp_path / "catalogue").interactions}
    summary = mine_reasons(str(tmp_path))
    assert "348 reviews read = " in summary
    reasons = read_catalogue(tmp_path / "catalogue").reasons
    assert len(reasons) > 150
    texts = Counter(i for r in reasons for i in sentences(r.text) if i in reviews[r.user_id, r.item_id])
    assert sum(texts.values()) >= len(reasons)


def _mined(root: Path, run: Path, min_rating: float = 0) -> tuple[str, list[Reason]]:
    ingest(Config(run_dir=str(run), catalogue=CatalogueConfig("tables", str(root))))
    summary = mine_reasons(str(run), min_rating=min_rating)
    return summary, read_table(run / "mined" / "reasons.parquet", Reason)


def test_reviews_in_another_language_are_named_and_never_count_against_the_item(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("id,title,material\ni0,Coat,wool\ni1,Coat,cotton\n")
    (tmp_path / "reviews.csv").write_text(
        "user_id,item_id,rating,text\nu0,i0,5,Die Wolle ist sehr weich und warm.\nu1,i0,5,The fabric is soft.\n"
        "u2,i1,5,Very soft fabric! Leider ist der Stoff sehr hart.\n"
    )
    summary, reasons = _mined(tmp_path, tmp_path / "run")
    assert "3 reviews read = 2 kept + 1 skipped (1 in German, which cannot be mined)" in summary
    assert "2 in German, which cannot be mined" in summary.splitlines()[1]
    assert sorted(reason.text for reason in reasons) == ["The fabric is soft.", "Very soft fabric!"]


def test_reviews_of_the_field(shared_data: Path, tmp_path: Path) -> None:
    field = shared_data / "field" / "tables"
    summary, reasons = _mined(field / "e1_reviews_html", tmp_path / "html")
    texts = " ".join(reason.text for reason in reasons)
    assert reasons and not any(sign in texts for sign in ("<", "&#", "[[", "http", "555", "Anna"))
    summary, reasons = _mined(field / "e2_reviews_german", tmp_path / "german")
    assert not reasons and "40 in German, which cannot be mined" in summary
    summary, reasons = _mined(field / "e3_reviews_mixed", tmp_path / "mixed")
    assert all(f"8 in {name}, which" in summary for name in ("Arabic", "Japanese", "Cyrillic", "Thai"))
    assert all(is_chinese(reason.text) for reason in reasons)
