"""The shop systems whose product exports are known."""

from __future__ import annotations

from mmreason.shops.bigcommerce import BIGCOMMERCE
from mmreason.shops.google_merchant import GOOGLE_MERCHANT
from mmreason.shops.layouts import Layout
from mmreason.shops.magento_csv import MAGENTO_CSV
from mmreason.shops.shopify import SHOPIFY
from mmreason.shops.woocommerce import WOOCOMMERCE

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (SHOPIFY, WOOCOMMERCE, BIGCOMMERCE, MAGENTO_CSV, GOOGLE_MERCHANT)
}
"""Name → what its export is like."""
