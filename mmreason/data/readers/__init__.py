"""Readers: each takes a :class:`mmreason.config.Config` and returns every row of its source, good or bad."""

from collections.abc import Callable

from mmreason.config import Config
from mmreason.data.check import Tables
from mmreason.data.readers import amazon, demo, magento, microlens, mind, movielens, tables, xrec

READERS: dict[str, Callable[[Config], Tables]] = {
    "demo": demo.read,
    "tables": tables.read,
    "magento": magento.read,
    "amazon": amazon.read,
    "mind": mind.read,
    "microlens": microlens.read,
    "movielens": movielens.read,
    "xrec": xrec.read,
}
