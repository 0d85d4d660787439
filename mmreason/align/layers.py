"""The layers of a tower in order of depth: what may train, and how fast."""

from __future__ import annotations

from torch import nn

from encoders import Encoder
from encoders.image import ImageEncoder, find_blocks

_LAST = ("proj", "text_projection")  # parameters of OpenCLIP's towers that are listed first and used last
_UNUSED = ("pooler.",)  # of Hugging Face models, whose last hidden states are pooled instead


def layer_groups(encoder: Encoder) -> list[list[str]]:
    """Names of an encoder's parameters by depth.

    Returns:
        The stem or the embeddings, then each block, then what follows the last block.

    Example:
        >>> from encoders import create_encoder
        >>> groups = layer_groups(create_encoder("timm:resnet18"))
        >>> len(groups), groups[-2][0]
        (10, 'tower.layer4.1.conv1.weight')
    """
    blocks = _blocks(encoder)
    depth = {id(p): number for number, block in enumerate(blocks, start=1) for p in block.parameters()}
    groups: list[list[str]] = [[] for _ in range(len(blocks) + 2)]
    seen = False
    for name, parameter in encoder.named_parameters():
        if any(part in name for part in _UNUSED):
            continue
        number = depth.get(id(parameter))
        seen = seen or number is not None
        after = seen or name.rpartition(".")[2] in _LAST
        groups[number if number is not None else -1 if after else 0].append(name)
    return groups


def _blocks(encoder: Encoder) -> list[nn.Module]:
    if isinstance(encoder, ImageEncoder):
        try:
            return find_blocks(encoder.tower)
        except ValueError:
            return []
    lists = [m for m in encoder.modules() if isinstance(m, nn.ModuleList) and len(m)]
    size = {id(m): sum(p.numel() for p in m.parameters()) for m in lists}
    return list(max(lists, key=lambda m: size[id(m)], default=nn.ModuleList()))
