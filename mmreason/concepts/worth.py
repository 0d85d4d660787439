"""What only the whole catalogue tells of a fact: that it is plumbing, boilerplate, or against an attribute."""

from __future__ import annotations

from collections.abc import Iterator

from mmreason.database import Database
from mmreason.shops.plumbing import why_not

LOOKED_AT = 500
"""Values of an attribute by which it is judged."""

_SHARED_BY = 20  # groups of items that say the same in a sentence, at least, before it counts as boilerplate
_TENTH, _HALF = 0.1, 0.5
_PRAISED = (
    10  # groups of items, at least, before an aspect that half of them are praised for counts as common
)
_SENTENCE_WORDS, _SENTENCE_CHARACTERS = 5, 12  # of languages with spaces and without

_OF_TIME = frozenset(["year", "release year", "released", "publication year", "decade", "年份"])
"""Numbers that people choose by."""

_PROMOTION = (
    r"(?:best|top|hot)[- ]?sell(?:er|ers|ing)|new(?:[- ]?(?:in|arrivals?|release|season|now))?|sales?|on[- ]sale|"
    r"hot|clearance|outlet|promo(?:tion)?s?|deals?|offers?|discount(?:ed)?|gifts?|gift[- ]?ideas?|featured|trending|"
    r"popular|must[- ]have|limited(?:[- ]edition)?|exclusive|pre-?order|coming[- ]soon|back[- ]in[- ]stock|"
    r"last[- ]chance|free[- ]shipping|staff[- ]pick|editor.?s?[- ]choice|neu(?:heit(?:en)?)?|angebot|"
    r"nouveau(?:té|tés)?|promoción|rebajas|novedad(?:es)?|"
    r"特价|新品|新款|热卖|热销|爆款|包邮|促销|折扣|清仓|限时|秒杀|预售|推荐"
)
_OTHER = (
    r"\(no [^)]*\)|n/?a|none|other|others|misc|miscellaneous|various|default|unknown|null|nan|-+|其他|无|未知"
)
_SAYS_NOTHING = f"{_PROMOTION}|{_OTHER}"
"""Values of whatever attribute that are no reason to want an item."""

_COLOURS = (
    "black|white|gr[ae]y|silver|gold|golden|blue|navy|teal|turquoise|aqua|cyan|azure|cobalt|royal|indigo|denim|red|maroon|"
    "burgundy|crimson|scarlet|salmon|coral|rust|terracotta|pink|rose|blush|magenta|fuchsia|purple|violet|lavender|lilac|"
    "plum|mauve|green|olive|lime|mint|emerald|sage|khaki|yellow|mustard|orange|peach|apricot|brown|beige|tan|camel|ivory|"
    "cream|charcoal|slate|taupe"
)
_EXCLUSIVE = (
    (
        r"(?:[\w ]* )?colou?rs?(?: \w+)?|farbe|couleur|colore|kleur|颜色|颜色分类",
        rf"\b(?:{_COLOURS})\b|[黑白灰红蓝绿黄紫粉棕橙]色",
    ),
    (r"genders?|sex|geschlecht|性别", r"\b(?:men|women|boys|girls)\b|男|女"),
)
"""Attributes of which a thing has what it has and nothing else, and the words for their values."""

_FORMS = "('thing', 'is', 'does', 'about')"


def leave_out(database: Database) -> dict[str, int]:
    """Make the view ``kept`` of the facts that are worth saying.

    Args:
        database: With the views ``items`` and ``facts``.

    Returns:
        Why facts were left out → how many.
    """
    database.execute("CREATE TABLE attributes (name VARCHAR, why VARCHAR)")
    for name, why in _plumbing(database):
        database.execute("INSERT INTO attributes VALUES ($name, $why)", {"name": name, "why": why})
    _find_boilerplate(database)
    _find_contradictions(database)
    database.execute(f"""
        CREATE TABLE dropped AS
        SELECT facts.item_id, facts.place, CASE
            WHEN why IS NOT NULL THEN 'plumbing' WHEN empty THEN 'promotion or nothing'
            WHEN boilerplate.spelling IS NOT NULL THEN 'boilerplate' ELSE 'against an attribute' END AS cause
        FROM (
            SELECT *, source = 'attribute' AND regexp_full_match(lower(trim(value)), '{_SAYS_NOTHING}') AS empty
            FROM facts
        ) AS facts LEFT JOIN attributes USING (name) LEFT JOIN boilerplate USING (spelling)
            LEFT JOIN (SELECT DISTINCT * FROM against) AS against USING (item_id, place)
        WHERE why IS NOT NULL OR empty OR boilerplate.spelling IS NOT NULL OR against.item_id IS NOT NULL
    """)
    database.execute("CREATE VIEW worthy AS FROM facts ANTI JOIN dropped USING (item_id, place)")
    counts = database.stream("SELECT cause, count(*) AS n FROM dropped GROUP BY cause ORDER BY cause", 100)
    return {row["cause"]: row["n"] for batch in counts for row in batch.to_pylist()}


def leave_out_common_praise(database: Database) -> None:
    """Make the view ``more`` of ``found``, without praise that most praised products get: every restaurant's taste.

    Args:
        database: With the views ``items`` and ``found``.
    """
    praise = "FROM found JOIN items ON item_id = id WHERE source = 'review'"
    database.execute(f"""
        CREATE TABLE common AS
        SELECT spelling {praise} GROUP BY spelling
        HAVING count(DISTINCT "group") >= {_PRAISED}
            AND count(DISTINCT "group") > {_HALF} * (SELECT count(DISTINCT "group") {praise})
    """)
    database.execute(
        "CREATE VIEW more AS FROM found WHERE source <> 'review' OR spelling NOT IN (SELECT spelling FROM common)"
    )


def _plumbing(database: Database) -> Iterator[tuple[str, str]]:
    """(attribute, why it is no reason), judged as the columns of a shop's tables are."""
    query = f"""
        SELECT name, list(value ORDER BY md5(item_id || value))[:{LOOKED_AT}] AS values
        FROM facts WHERE name NOT IN {_FORMS} GROUP BY name ORDER BY name
    """
    for batch in list(database.stream(query, 100)):
        for row in batch.to_pylist():
            why = "" if row["name"].strip().lower() in _OF_TIME else why_not(row["name"], row["values"])
            if why:
                yield row["name"], why


def _find_boilerplate(database: Database) -> None:
    """Sentences that a tenth of the products share, and whatever half of them says; variants count as one product."""
    words = f"len(string_split(value, ' ')) >= {_SENTENCE_WORDS} OR (value = replace(value, ' ', '') AND"
    database.execute(f"""
        CREATE TABLE boilerplate AS
        SELECT spelling FROM facts JOIN items ON item_id = id
        WHERE source IN ('text', 'title') AND facts.name IN {_FORMS} GROUP BY spelling, value
        HAVING count(DISTINCT "group") >= {_SHARED_BY} AND count(DISTINCT "group") >=
            (SELECT count(DISTINCT "group") FROM items)
            * CASE WHEN {words} len(value) >= {_SENTENCE_CHARACTERS}) THEN {_TENTH} ELSE {_HALF} END
    """)


def _find_contradictions(database: Database) -> None:
    """Phrases of an attribute's other values: "black hood" of a blue coat; a text is often that of another variant."""
    database.execute("CREATE TABLE against (item_id VARCHAR, place INT)")
    for names, words in _EXCLUSIVE:
        named = rf"regexp_extract_all(replace(lower(value), 'grey', 'gray'), '{words}')"
        database.execute(f"""
            INSERT INTO against
            WITH own AS (
                SELECT item_id, string_agg(replace(lower(value), 'grey', 'gray'), ' ') AS own FROM facts
                WHERE source = 'attribute' AND regexp_full_match(lower(name), '{names}') GROUP BY item_id
            ), said AS (
                SELECT item_id, place, {named} AS named FROM facts
                WHERE source IN ('text', 'title') AND len({named}) > 0
            )
            SELECT item_id, place FROM said JOIN own USING (item_id)
            WHERE NOT regexp_matches(own, 'unisex|multi')
                AND NOT list_has_any(named, regexp_extract_all(own, '{words}'))
        """)
