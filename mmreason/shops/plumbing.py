"""Which columns can be a reason to want an item, and which keep a shop running: by their names, and by their values.

"This mug is of the 24.99 usd kind": prices, stock, taxes, weights, dates, flags, ids, files, addresses are no reasons.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from statistics import median
from typing import Any

from mmreason.cleaning import plain_text

LONGEST = 40
"""Characters; what is longer on average describes, it is no attribute's value."""

ENOUGH = 12
"""Values; of fewer it cannot be told whether a column is always the same."""

# What stands behind the comma of a name.
_FIRM = r"(?i:\s*(?:inc|llc|ltd|gmbh|co|corp|plc|jr|sr|ag|kg|s\.?a|s\.?r\.?l|b\.?v)\b)"
_TELLING = re.compile(
    r"breadcrumbs?|taxonomy|colou?rs?|materials?|brands?|vendor|manufacturer|maker|categor(?:y|ies)|genres?|styles?|patterns?|sizes?|tags?|"
    r"(?:product_|item_)?type|kinds?|fabrics?|flavou?rs?|scents?|fragrance|season|occasion|fit|gender|age_group|authors?|"
    r"artists?|directors?|actors?|cast|cuisines?|topics?|section|department|collection|theme|finish|origin|cut|sleeve|"
    r"neckline|heel|closure|lining|shape|room|activity|sport|climate|language|publisher|band|label|varietal|grape|region|"
    r"ingredients?|diet|capacity|storage|(?:recommended_)?ages?|(?:number_of_|num_)?players|keyboard_layout|"
    r"skin_type|hair_type|features?|use|target|audience|farbe|größe|marke|kategorie|couleur|taille|"
    r"marque|matière|catégorie|talla|marca|categoría|colore|taglia|materiale|kleur|merk|颜色|颜色分类|品牌|材质|类别|风格"
)

# Of a name's words: any, but for those that are meant at its beginning or at its end only.
_NAMES: tuple[tuple[str, str], ...] = (
    (
        "stock",
        "stock|inventory|qty|quantity|availability|available|backorder|backorders|sold|reserved|"
        "lager|bestand|lagerbestand|verfügbarkeit|disponibilité|disponibilidad|库存|在庫|restock",
    ),
    (
        "a price",
        "price|prices|price_class|cost|costs|msrp|rrp|discount|margin|currency|amount|subtotal|total|revenue|"
        "fee|fees|profit|commission|preis|prix|precio|prezzo|prijs|preço|价格|価格",
    ),
    (
        "tax or shipping",
        "tax|taxable|vat|mwst|steuer|tva|iva|hs|tariff|shipping|ships|fulfillment|fulfilment|"
        "customs|warehouse|supplier|delivery|lead_(?:time|days?)|freight|versand|lieferzeit|handling|returnable|"
        "refundable",
    ),
    (
        "a weight or measure",
        "weight|weights|grams|gram|kg|lbs|oz|cm|mm|inches|volume|dimension|dimensions|gewicht|"
        "poids|peso|measure|unit|units",
    ),
    (
        "for those who keep it",
        "(?:created|updated|modified|added|edited|changed|approved)_by",
    ),
    (
        "a date or time",
        "date|dates|dt|dat|datum|time|timestamp|created|updated|modified|expires|expiry|added|day|month",
    ),
    (
        "a flag",
        r"(?<=^_)(?:is|has)|[a-zäöü]*status|published|publish|visible|visibility|featured|enabled|active(?=_$)|state|online|"
        "gift(?=_$)|gift_(?:card|wrap|message)|requires|allow|allows|enable|use_config|deleted|archived|hidden|adult|taxed|track|"
        "tracked|flag|bundle|subscribable",
    ),
    (
        "an id or code",
        "id|ids|uuid|guid|sku|skus|gtin|ean|upc|isbn|mpn|asin|barcode|code|codes|handle|slug|"
        "hash|key(?=_$)|index|idx|(?:number|no|nr|num)(?=_$)|abc|position|sort|order|rank|template|parent|variant|"
        "version|serial|ref|reference|batch|lot",
    ),
    (
        "an address or a file",
        "url|uri|urls|link|links|href|website|permalink|image|images|img|picture|pictures|photo|"
        "photos|thumbnail|file|files|filename|path|video|videos|alt|icon|src|domain|"
        "redirect|page",
    ),
    (
        "for search engines",
        "seo|meta|keywords|sitemap|canonical|robots",
    ),
    (
        "a shop's setting",
        r"condition|policy|tracker|tracking|(?<=^_)layout|websites|website_id|store|stores|locale|lang|"
        "identifier_exists|custom_label|attribute_set|option_set|scope|channel|channels|(?<=^_)profile|"
        "account|gl|display(?=_$)|widget",
    ),
    (
        "a count or score",
        "rating|ratings|stars|score|scores|review|reviews|count|counts|views|clicks|votes|"
        "popularity|helpful|likes|shares|sales|impressions|percent|pct|ratio",
    ),
    (
        "for those who keep it",
        "(?:internal|staff|admin|order|purchase|customer|seller)_notes?|remark|remarks|internal|memo|owner|editor|user|username|admin|todo|checked|"
        "contact|email|phone|tel|fax|address|zip|postcode|postal|lat|lng|lon|latitude|longitude|"
        "bin|shelf|aisle|hours",
    ),
)

_VALUES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "a flag",
        re.compile(
            "true|false|yes|no|y|n|t|f|0|1|on|off|ja|nein|oui|non|si|sí|wahr|falsch|maybe|unknown|是|否"
        ),
    ),
    (
        "a date or time",
        re.compile(
            r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[t ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(?:[ ,].*)?|"
            r"\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]m)?|(?:mon|tue|wed|thu|fri|sat|sun)\w*,? \d.*"
        ),
    ),
    (
        "a number",
        re.compile(
            r"(?:(?:eur|usd|gbp|chf|cny|jpy|[$€£¥])\s?)?[-+]?\d[\d.,\s']*\s?(?:[$€£¥%]|eur|usd|"
            "gbp|chf|cny|jpy|[kmc]?g|lbs?|oz|[kmc]?m|in|ml|l|cl|pcs?|days?|hours?|min|sec|"
            "[kmg]b)?"
        ),
    ),
    (
        "an address or a file",
        re.compile(
            r"(?:https?:)?//.*|www\..*|[\w./ -]+\.(?:jpe?g|png|gif|webp|avif|mp4|webm|pdf|html?|"
            r"svg|csv)|\S+@\S+\.\w+"
        ),
    ),
    (
        "a shop's state",
        re.compile(
            "(?:in|out of|auf|nicht auf|en|low) (?:stock|lager)|in_stock|out_of_stock|pre-?order|"
            "back-?order|sold out|(?:not )?available|discontinued|new|used|refurbished|neu|"
            "gebraucht|active|inactive|draft|archived|enabled|disabled|visible|hidden|"
            "catalog(?:, search)?|search|not visible individually|published|unpublished|deny|"
            "continue|taxable|none|default|standard|shipping|manual|automatic|shopify|simple|"
            "variable|variation|configurable|virtual|public|private|open|closed|pending|usd|eur|"
            "gbp|kg|g|lb|oz|cm|mm|m|default title|na|n/a"
        ),
    ),
    (
        "a code",
        re.compile(
            r"(?!\d{1,3}[-/]\d{1,3}$)(?=.*\d)[A-Z0-9]+(?:[-_/.][A-Z0-9]+)+|(?=.*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*|"
            r"(?=.*\d)[A-Z\d]{6,}|#[0-9a-fA-F]{3,8}"
        ),
    ),
)


@cache
def _words(name: str) -> str:
    """A column's name as words between underscores: ``_sale_price_``."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return "_" + re.sub(r"[\W_]+", "_", apart.lower()).strip("_") + "_"


_LEVELLED = re.compile(
    r"_(?:categor(?:y|ies)|breadcrumbs?|taxonomy|department|section|product_type|kategorien?)_"
)
_BY_NAME = [(reason, re.compile(rf"_(?:{names})_")) for reason, names in _NAMES]


@cache
def is_telling(name: str) -> bool:
    """Whether a column is called like something that people choose by, such as a material."""
    bare = re.sub(r"(?:_group|_name)+$", "", _words(name).strip("_"))
    return _TELLING.fullmatch(bare) is not None


@cache
def why_not_by_name(name: str) -> str:
    """What a column is called like, if that is no reason to want anything; else empty.

    Example:
        >>> why_not_by_name("Sale price"), why_not_by_name("is_featured"), why_not_by_name("Material")
        ('a price', 'a flag', '')
    """
    if is_telling(name):
        return ""
    words = _words(name)
    return next((reason for reason, names in _BY_NAME if names.search(words)), "")


def why_not(name: str, values: Sequence[str]) -> str:
    """Why a column is no reason to want an item; empty if it can be one.

    Args:
        name: The column.
        values: Some of its values, one of several each on its own, none of them empty.

    Example:
        >>> why_not("finish", ["matt", "gloss", "matt"]), why_not("x", ["9.99 USD", "5 USD"])
        ('', 'a number')
    """
    by_name = why_not_by_name(name)
    if by_name or not values:
        return by_name or "empty"
    plain = [value.strip().lower() for value in values]
    kinds = Counter(plain)
    for reason, pattern in _VALUES:
        if reason == "a number" and is_telling(name):
            continue
        cased = values if reason == "a code" else plain
        if sum(pattern.fullmatch(value.strip()) is not None for value in cased) > len(values) / 2:
            return reason
    if median(map(len, plain)) > LONGEST:
        return "a long text"
    if is_telling(name):
        return ""
    if len(plain) >= ENOUGH and kinds.most_common(1)[0][1] > 0.98 * len(plain):
        return "nearly always the same"
    return "nearly never the same" if len(kinds) > max(1, len(plain) // 2) else ""


def are_flags(values: Sequence[str]) -> bool:
    """Whether most values say only yes or no."""
    flag = _VALUES[0][1]
    return sum(flag.fullmatch(value.strip().lower()) is not None for value in values) > len(values) / 2


def parted(text: str, sign: str) -> list[str]:
    """The pieces between signs, but for signs in a number (``10,000``), in a name (``Sony, Inc.``) or behind ``\\``."""
    belongs = (
        rf"(?<!\\)(?!(?<=\d){re.escape(sign)}\d)(?!{re.escape(sign)}{_FIRM})" if sign == "," else r"(?<!\\)"
    )
    return re.split(f"{belongs}{re.escape(sign)}", text)


def parting(name: str, values: Sequence[Any]) -> dict[str, str]:
    """How the cells of a column hold several values: ``{"path": ">"}``, ``{"split": ","}`` or nothing.

    Example:
        >>> parting("category", ["Home > Mugs", "Home > Cups"]), parting("tags", ["wool, gift"]), parting("x", ["a, b"])
        ({'path': '>'}, {'split': ','}, {})
    """
    texts = [plain_text(value) for value in values if isinstance(value, str) and value.strip()]
    if (
        not texts or sum(text[:1] in "[{" for text in texts) > len(texts) / 2
    ):  # a list says itself what it holds
        return {}
    levelled = _LEVELLED.search(_words(name))
    for sign in (">", "»", "›", "::", *("/" if levelled else "")):
        if sum(sign in text for text in texts) > len(texts) / 2:
            return {"path": sign}
    named = re.search(
        r"_(?:tags?|keywords?|labels?|genres?|topics?|categories|category|features)_", _words(name)
    )
    for sign in (";", ","):
        split = [parted(text, sign) for text in texts]
        pieces = [piece.strip() for some in split for piece in some]
        several = sum(len(some) > 1 for some in split)
        repeat = len(set(texts)) > 2 and len(pieces) >= ENOUGH and len(set(pieces)) <= len(pieces) / 3
        short = max(map(len, pieces)) <= LONGEST and sum(map(len, pieces)) < 20 * len(pieces)
        if several and short and (named or (repeat and several > len(texts) / 2)):
            return {"split": sign}
    return {}
