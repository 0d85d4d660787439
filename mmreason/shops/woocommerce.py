"""WooCommerce's product export: a row a product or variation, which names its parent by SKU or as ``id:40``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmreason.readers.source import SourceRow
from mmreason.schema import Attributes
from mmreason.shops.layouts import (
    Layout,
    Rows,
    address,
    cell,
    code,
    facts,
    item,
    levels,
    linked,
    listed,
    overlaid,
    own_columns,
)

_NUMBERED = re.compile(r"attribute_(\d+)_name")


@dataclass(slots=True)
class _Parent:
    """What variations inherit, and the pictures that are of one of them alone."""

    record: dict[str, Any]
    own_pictures: set[str] = field(default_factory=set)


def items(rows: Rows, folder: Path) -> Iterator[SourceRow]:
    """One item a product and variation."""
    parents = _parents(rows)
    for row in rows():
        if row.problem:
            yield row
            continue
        parent = parents.get(_parent_name(row.record))
        yield _item(row, parent)


def _parents(rows: Rows) -> dict[str, _Parent]:
    """Parents by their SKU and by ``id:…``, wherever in the file they stand."""
    pictures: dict[str, set[str]] = defaultdict(set)
    for row in rows():
        if not row.problem and (name := _parent_name(row.record)):
            pictures[name].update(listed(cell(row.record, "images")))
    found: dict[str, _Parent] = {}
    for row in rows():
        names = [] if row.problem else [code(row.record, "sku"), f"id:{cell(row.record, 'id')}"]
        named = [name for name in names if name in pictures]
        if named:
            taken = set().union(*(pictures[name] for name in named))
            found |= dict.fromkeys(names, _Parent(row.record, taken))
    return found


def _parent_name(record: dict[str, Any]) -> str:
    return code(record, "parent") if "variation" in cell(record, "type").lower() else ""


def _item(row: SourceRow, parent: _Parent | None) -> SourceRow:
    record, above = row.record, parent.record if parent else {}
    text = [cell(record, name) or cell(above, name) for name in ("short_description", "description")]
    images = listed(cell(record, "images"))
    if parent:
        inherited = listed(cell(above, "images"))
        images += [path for path in inherited if not images or path not in parent.own_pictures]
    sku, number = code(record, "sku"), code(record, "id")
    group = (code(above, "sku") or f"id:{code(above, 'id')}") if parent else _parent_name(record) or sku
    return item(
        row,
        id=sku or (f"id:{number}" if number else ""),
        group=group,
        title=cell(record, "name") or cell(above, "name"),
        text="\n".join(filter(None, text)),
        images=[address(path) for path in dict.fromkeys(images)],
        attributes=overlaid(_attributes(record), _attributes(above)),
        links=linked(record) or linked(above),
        keys={"sku": sku, "product id": number, "parent": code(above, "sku")},
    )


def _attributes(record: dict[str, Any]) -> Attributes:
    numbers = [found[1] for name in record if (found := _NUMBERED.fullmatch(name))]
    pairs = (
        (cell(record, f"attribute_{n}_name").removeprefix("pa_"), cell(record, f"attribute_{n}_value_s"))
        for n in numbers
    )
    paths = listed(cell(record, "categories"))
    own = {name: value for name, value in record.items() if not name.startswith(("attribute_", "meta_"))}
    return facts(
        ("brand", listed(cell(record, "brands", "brand"))),
        ("category", [level for path in paths for level in levels(path)]),
        ("tags", listed(cell(record, "tags"))),
        *((name, listed(values, "|" if "|" in values else ",")) for name, values in pairs),
        *own_columns(own, WOOCOMMERCE),
    )


# The export's header is in the language of the shop's administrator: German, French, Spanish, Italian, Dutch.
_TRANSLATED = {
    "type": "typ tipo",
    "sku": "artikelnummer ugs cod artikelnummer_sku cod_sku",
    "name": "nom nombre nome naam",
    "published": "veröffentlicht publié publicado pubblicato gepubliceerd",
    "is_featured": "ist_hervorgehoben empfohlen mis_en_avant está_destacado in_primo_piano in_evidenza "
    "is_uitgelicht uitgelicht",
    "visibility_in_catalog": "sichtbarkeit_im_katalog visibilité_dans_le_catalogue visibilidad_en_el_catálogo "
    "visibilità_nel_catalogo zichtbaarheid_in_catalogus",
    "short_description": "kurzbeschreibung description_courte descripción_corta breve_descrizione korte_beschrijving",
    "description": "beschreibung descripción descrizione beschrijving",
    "tax_status": "steuerstatus état_de_la_tva estado_del_impuesto stato_delle_imposte btw_status belastingstatus",
    "tax_class": "steuerklasse classe_de_tva clase_de_impuesto aliquota_di_imposta belastingklasse",
    "in_stock": "auf_lager vorrätig en_stock existencias in_stock op_voorraad",
    "stock": "lager lagerbestand bestand inventario magazzino voorraad",
    "regular_price": "regulärer_preis tarif_régulier precio_normal prezzo_di_listino reguliere_prijs",
    "sale_price": "angebotspreis tarif_promo precio_rebajado prezzo_in_offerta actieprijs",
    "categories": "kategorien catégories categorías categorie categorieën",
    "tags": "schlagwörter étiquettes etiquetas tag",
    "brands": "marken marques marcas marchi merken",
    "images": "bilder imágenes immagine immagini afbeeldingen",
    "upsells": "zusatzverkäufe ventes_incitatives montées_en_gamme ventas_dirigidas up_sell up_sells",
    "cross_sells": "querverkäufe ventes_croisées ventas_cruzadas cross_sell",
    "parent": "übergeordnetes_produkt superior principal padre genitore hoofd bovenliggend",
}
_ATTRIBUTE_NAMES = {
    "name": "attribut_{n}_name nom_de_l_attribut_{n} nombre_del_atributo_{n} nome_dell_attributo_{n} "
    "nome_attributo_{n} attribuut_{n}_naam naam_eigenschap_{n}",
    "value_s": "attribut_{n}_wert_e valeur_s_de_l_attribut_{n} valor_es_del_atributo_{n} valore_dell_attributo_{n} "
    "valore_i_dell_attributo_{n} valore_i_attributo_{n} attribuut_{n}_waarde_n waarde_n_eigenschap_{n}",
}


def _translations() -> dict[str, str]:
    names = {theirs: ours for ours, words in _TRANSLATED.items() for theirs in words.split()}
    numbered = {
        theirs.format(n=n): f"attribute_{n}_{part}"
        for part, words in _ATTRIBUTE_NAMES.items()
        for theirs in words.split()
        for n in range(1, 31)
    }
    return names | numbered


WOOCOMMERCE = Layout(
    "woocommerce",
    "WooCommerce product export",
    ("type", "sku", "name", ("attribute_1_name", "tax_status", "visibility_in_catalog", "is_featured")),
    {
        "id": "an id that orders may use",
        "sku": "id",
        "type": "what is a variation",
        "parent": "group",
        "name": "title",
        **dict.fromkeys(("short_description", "description"), "text"),
        "images": "images",
        "categories": "attribute category",
        "tags": "attribute tags",
        **dict.fromkeys(("brands", "brand"), "attribute brand"),
        **{f"attribute_{n}_{part}": "an attribute" for n in range(1, 31) for part in ("name", "value_s")},
    },
    frozenset(
        [
            *("published", "is_featured", "visibility_in_catalog"),
            *(
                "date_sale_price_starts",
                "date_sale_price_ends",
                "tax_status",
                "tax_class",
                "in_stock",
                "stock",
            ),
            *(
                "low_stock_amount",
                "backorders_allowed",
                "sold_individually",
                "weight_kg",
                "length_cm",
                "width_cm",
            ),
            *(
                "height_cm",
                "allow_customer_reviews",
                "purchase_note",
                "sale_price",
                "regular_price",
                "categories",
            ),
            *(
                "tags",
                "shipping_class",
                "images",
                "download_limit",
                "download_expiry_days",
                "parent",
                "position",
            ),
            *("grouped_products", "upsells", "cross_sells", "external_url", "button_text"),
            *(
                "gtin_upc_ean_or_isbn",
                "weight_lbs",
                "weight_g",
                "weight_oz",
                "length_in",
                "width_in",
                "height_in",
            ),
            *(
                "cost_of_goods",
                "swatches_attributes",
                "attribute_1_name",
                "attribute_1_value_s",
                "button_text",
            ),
            *("attribute_1_visible", "attribute_1_global", "attribute_1_default"),
        ]
    ),
    items,
    translated=_translations(),
)
