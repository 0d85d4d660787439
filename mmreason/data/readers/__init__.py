"""Readers: each takes a :class:`mmreason.config.Config` and returns every row of its source, good or bad."""

from collections.abc import Callable

from mmreason.config import Config
from mmreason.data.check import Tables
from mmreason.data.readers import demo, magento, tables

READERS: dict[str, Callable[[Config], Tables]] = {
    "demo": demo.read,
    "tables": tables.read,
    "magento": magento.read,
}
