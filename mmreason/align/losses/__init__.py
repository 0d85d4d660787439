"""Contrastive losses, one a file; all of them exact over several processes and over cached gradients.

| file | what it is |
| --- | --- |
| ``infonce.py`` | symmetric InfoNCE: a softmax over the batch, both ways (CLIP) |
| ``siglip.py`` | a sigmoid per pair of rows (SigLIP) |
| ``pairs.py`` | either of them over a weighted set of modality pairs, and over Matryoshka prefixes |
| ``gather.py`` | rows of all processes, with gradients |
| ``gradcache.py`` | gradient caching: a contrast over more rows than fit into memory |
| ``negatives.py`` | which rows are no negatives of each other: one product, one picture, one text |
| ``mining.py`` | hard negatives out of an embedding store |
"""

from mmreason.align.losses.gather import Gathered, gather_rows
from mmreason.align.losses.gradcache import cached_backward
from mmreason.align.losses.infonce import info_nce
from mmreason.align.losses.mining import mine_hard_negatives
from mmreason.align.losses.negatives import item_codes, same_rows
from mmreason.align.losses.pairs import PairLoss, normalise_pairs
from mmreason.align.losses.siglip import siglip

__all__ = [
    "Gathered",
    "PairLoss",
    "cached_backward",
    "gather_rows",
    "info_nce",
    "item_codes",
    "mine_hard_negatives",
    "normalise_pairs",
    "same_rows",
    "siglip",
]
