"""Reviews: sentences, opinions with their aspect and polarity, the aspect lexicon, languages without rules."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.language import is_chinese
from mmreason.reviews.aspects import Aspect, Lexicon
from mmreason.reviews.languages import unmined_language
from mmreason.reviews.learn import learn_lexicon
from mmreason.reviews.miner import Miner
from mmreason.reviews.sentences import sentence_hash, sentences
from mmreason.schema import DataError, Item

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


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Leider ist der Stoff hart.", "German"),
        ("Weiche Wolle", "German"),
        ("Tolle Qualität!", "German"),
        ("Passt perfekt, gerne wieder", "German"),
        ("Hält warm", "German"),
        ("Top Produkt", "German"),
        ("Belle couleur", "French"),
        ("Me encanta", "Spanish"),
        ("Bellissimo!", "Italian"),
        ("Mooie kleur", "Dutch"),
        ("Soft wool", ""),
        ("Super!", ""),
        ("Fits perfect, hat was warm", ""),
        ("Die cut art kit", ""),
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
