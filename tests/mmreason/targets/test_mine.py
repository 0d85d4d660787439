"""Mining reasons from reviews: sentences verbatim, opinions with their aspect and polarity, nothing lost."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.catalogue.catalogue import Catalogue, read_catalogue, write_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.catalogue.tables import read_table
from mmreason.cli import main
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.language import is_chinese
from mmreason.schema import DataError, Evidence, Interaction, Item, Reason
from mmreason.shards.histories import history_before
from mmreason.targets.aspects import Aspect, Lexicon
from mmreason.targets.mining.languages import unmined_language
from mmreason.targets.mining.mine import SOURCE, Counts, Miner, learn_lexicon, mine, mine_reasons
from mmreason.targets.mining.sentences import sentence_hash, sentences

pytest.importorskip("vaderSentiment")
pytest.importorskip("textblob")
pytest.importorskip("jieba")


@pytest.fixture(scope="module")
def miner() -> Miner:
    return Miner(Lexicon.seed())


def _said(miner: Miner, sentence: str) -> set[str]:
    opinions = miner.finder(sentence).find(sentence)
    return {f"{o.aspect}{'+' if o.polarity > 0 else '-'}" for o in opinions if o.aspect}


@given(st.text(alphabet="ab .!?。！,\n\\n\"'…~好", max_size=60))
def test_sentences_are_pieces_in_order(text: str) -> None:
    place = 0
    for sentence in sentences(text):
        assert sentence == sentence.strip() and sentence
        place = text.index(sentence, place) + len(sentence)


def test_sentence_ends() -> None:
    assert sentences("Dr. J. Smith's bag! It's 5.5 in. wide… ok") == [
        "Dr. J. Smith's bag!",
        "It's 5.5 in.",
        "wide…",
        "ok",
    ]
    assert sentences('He said "so soft!" Then\nleft :)') == ['He said "so soft!"', "Then", "left :)"]
    assert sentences("好吃！！环境也好~下次再来\\n\\n不贵") == ["好吃！！", "环境也好~", "下次再来", "不贵"]
    assert is_chinese("iPhone壳很好") and not is_chinese("the 好 bag") and not is_chinese("")
    assert sentence_hash("So  SOFT!") == sentence_hash("so soft") != sentence_hash("so softer")


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("The straps are comfy.", {"comfort+", "function+"}),
        ("It is not comfortable.", {"comfort-"}),
        ("I don't think it's that warm.", {"warmth-"}),
        ("They don't chafe and never ripped.", {"comfort+", "durability+"}),
        ("Not only warm but also light.", {"warmth+", "weight+"}),
        ("Too tight.", {"fit-"}),
        ("Love the fabric, but it's huge!", {"material+", "fit-"}),
        ("Great for yoga", {"use+"}),
        ("Great hoodie for hiking in the fall.", {"use+"}),
        ("Perfect for the price", {"price+"}),
        ("I like the pockets.", {"capacity+"}),
        ("It is pretty heavy.", {"weight-"}),
        ("I wish it were softer.", set()),
        ("Great bag!", set()),
        ("面料很舒服", {"material+", "comfort+"}),
        ("穿着不舒服", {"comfort-"}),
        ("一点都不好看", {"look-"}),
        ("虽然有点贵，但是做工很好", {"price-", "material+"}),
        ("面料太好看了", {"material+", "look+"}),
        ("手感，很不错", {"comfort+"}),
    ],
)
def test_opinions(miner: Miner, sentence: str, said: set[str]) -> None:
    assert _said(miner, sentence) == said


@pytest.mark.parametrize(
    ("sentence", "cause"),
    [
        ("A bit pricey, but so soft and warm.", ""),
        ("Comfy though.", ""),
        ("虽然贵，但是面料柔软舒服，颜色也好看。", ""),
        ("So soft, but it runs small.", "against the item"),
        ("Soft, but that is it.", "praise that a contrast takes back"),
        ("The delivery was great.", "about delivery"),
        ("快递很快，客服态度好", "about delivery"),
        ("A bargain, on sale!", "about price"),
        ("Is it warm?", "a question"),
        ("Best bag ever!", "praise of no aspect"),
        ("I bought it in May.", "names no opinion of an aspect"),
        ("so soft " * 60, "too long"),
    ],
)
def test_verdicts(miner: Miner, sentence: str, cause: str) -> None:
    assert miner.judge(sentence).cause == cause


@settings(max_examples=60)
@given(st.text(max_size=80))
def test_any_text_is_judged(miner: Miner, text: str) -> None:
    for sentence in sentences(text):
        for o in miner.judge(sentence).opinions:
            assert sentence[o.span[0] : o.span[1]].find(o.opinion) >= 0 and o.polarity in (1, -1)


def test_a_word_of_two_aspects_counts_for_both() -> None:
    lexicon = Lexicon({"noise": Aspect(["环境"]), "space": Aspect(["环境"])}, good=["好"])
    assert _said(Miner(lexicon), "环境好") == {"noise+", "space+"}


def test_lexicon_is_learned_written_edited_and_read(tmp_path: Path) -> None:
    items = [
        Item("a", "Zip Jacket", attributes={"color": ["Teal"], "category": ["Jackets"], "liner": ["Sherpa"]})
    ]
    texts = ["I love the drawcord.", "The drawcord is great!", "Awesome drawcord."] * 2 + [
        "This jacket is great."
    ] * 4
    lexicon = learn_lexicon(items, texts)
    assert "teal" in lexicon.aspects["look"].terms and lexicon.aspects["liner"].terms == ["sherpa"]
    assert lexicon.aspects["drawcord"].seen == 6 and "jacket" not in lexicon.aspects
    path = tmp_path / "aspects.yaml"
    lexicon.write(path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# What reviews") and "舒服" in text
    path.write_text(text.replace("drawcord:\n    terms: [drawcord]", "cord:\n    terms: [drawcord, no, 7]"))
    read = Lexicon.read(path)
    assert read.aspects["cord"].terms == ["drawcord", "no", "7"] and read.good == lexicon.good
    assert _said(Miner(read), "I love the drawcord") == {"cord+"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("aspects: [", "not YAML"),
        ("- a", "no `aspects:`"),
        ("aspects: {fit: {term: [a]}}", "'fit'"),
        ("aspects: {fit: {terms: a}}", "fit.terms"),
        ("aspects: {fit: {why: maybe}}", "'fit'"),
        ("aspects: {}\nopinions: 3", "opinions"),
    ],
)
def test_a_damaged_lexicon_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "aspects.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=named) as error:
        Lexicon.read(path)
    assert "aspects.yaml" in str(error.value) and "\n" not in str(error.value)


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


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Leider ist der Stoff hart.", "German"),
        ("Le tissu est très doux", "French"),
        ("La tela es muy suave y bonita", "Spanish"),
        ("De stof is heel zacht", "Dutch"),
        ("Materiał jest bardzo miękki", "Polish"),
        ("布料は柔らかくて色もきれいです。", "Japanese"),
        ("ткань очень мягкая", "Cyrillic"),
        ("เนื้อผ้านุ่มมาก สีสวย", "Thai"),
        ("القماش ناعم جدا", "Arabic"),
        ("원단이 부드러워요", "Korean"),
        ("面料很柔软，颜色也很漂亮。", ""),
        ("Soft fabric. ⭐⭐⭐⭐⭐", ""),
        ("I love the de Buyer pan, très chic!", ""),
        ("", ""),
    ],
)
def test_a_language_without_rules_is_told(text: str, language: str) -> None:
    assert unmined_language(text) == language


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
