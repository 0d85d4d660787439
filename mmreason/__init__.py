"""MMReason: recommendation reasons from pictures, videos, texts and behaviour.

The public names are loaded when first used, so that ``import mmreason`` stays fast and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmreason.schema import DataError, Evidence, Interaction, Item, Reason, User

if TYPE_CHECKING:
    from mmreason.bulk.store import ReasonStore
    from mmreason.embed.embedder import Embedder
    from mmreason.generate.reasoner import Reasoner

__version__ = "0.1.0"
__all__ = [
    "DataError",
    "Embedder",
    "Evidence",
    "Interaction",
    "Item",
    "Reason",
    "ReasonStore",
    "Reasoner",
    "User",
]

_LAZY = {
    "Embedder": "mmreason.embed.embedder",
    "ReasonStore": "mmreason.bulk.store",
    "Reasoner": "mmreason.generate.reasoner",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mmreason' has no attribute {name!r}")
