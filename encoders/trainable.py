"""Which parts of an encoder train, and how fast each layer does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import Any

from torch import nn

log = logging.getLogger(__name__)

# Registered before the blocks by some towers, used after them.
_AFTER_BLOCKS = ("proj", "text_projection")


class Trainable(nn.Module):
    """A module that trains in part: chosen by name, grouped by depth."""

    def blocks(self) -> list[nn.Module]:
        """The residual blocks, in order from the input; empty if there are none."""
        return []

    def set_trainable(self, names: Sequence[str]) -> list[str]:
        """Let the named parts train and freeze all others.

        Args:
            names: Shell patterns of whole dotted parts: ``blocks.10`` is block 10 and all in it, not block 101;
                ``blocks.*.attn`` every attention, ``norm`` every part of that name, ``*`` everything. An empty
                list freezes the encoder.

        Returns:
            Names of the parameters that train, in order; their number is logged.

        Raises:
            ValueError: If a pattern names nothing; the message lists near matches.

        Example:
            >>> from encoders import create_encoder
            >>> create_encoder("timm:resnet18").set_trainable(["layer4.1.bn2"])
            ['tower.layer4.1.bn2.weight', 'tower.layer4.1.bn2.bias']
        """
        parameters = dict(self.named_parameters())
        found: set[str] = set()
        for pattern in names:
            matched = {name for name in parameters if _matches(name, pattern)}
            if not matched:
                near = get_close_matches(pattern, _parts(parameters), n=3, cutoff=0.5)
                hint = f"did you mean {', '.join(near)}?" if near else "see named_parameters()"
                raise ValueError(f"{type(self).__name__} has no part {pattern!r}: {hint}")
            found |= matched
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in found)
        total, training = (sum(parameters[n].numel() for n in some) for some in (parameters, found))
        log.info(
            "%s: %d of %d tensors train, %.2f of %.2f million parameters",
            type(self).__name__,
            len(found),
            len(parameters),
            training / 1e6,
            total / 1e6,
        )
        return [name for name in parameters if name in found]

    def layer_groups(self) -> list[dict[str, nn.Parameter]]:
        """All parameters by depth: what comes before the blocks, each block, what comes after them.

        Returns:
            Name → parameter per layer, in order from the input; a layer without parameters is left out.
        """
        blocks = self.blocks()
        owner = {id(p): depth for depth, block in enumerate(blocks, 1) for p in block.parameters()}
        groups: list[dict[str, nn.Parameter]] = [{} for _ in range(len(blocks) + 2)]
        seen_block = not blocks
        for name, parameter in self.named_parameters():
            depth = owner.get(id(parameter))
            seen_block |= depth is not None
            if depth is None:
                after = seen_block or name.split(".")[-1] in _AFTER_BLOCKS
                depth = len(blocks) + 1 if after else 0
            groups[depth][name] = parameter
        return [group for group in groups if group]

    def parameter_groups(
        self, lr: float, *, layer_decay: float = 1.0, weight_decay: float = 0.05
    ) -> list[dict[str, Any]]:
        """Groups for an optimizer, over the parameters that train.

        The last layer learns with ``lr``, each one before it with ``layer_decay`` times the rate of its successor
        (as in BEiT, https://arxiv.org/abs/2106.08254). Vectors and scalars (biases, norms) are not decayed.

        Example:
            >>> import torch
            >>> from encoders import create_encoder
            >>> encoder = create_encoder("timm:resnet18")
            >>> optimizer = torch.optim.AdamW(encoder.parameter_groups(1e-4, layer_decay=0.8))
        """
        layers = self.layer_groups()
        groups = []
        for depth, layer in enumerate(layers):
            rate = lr * layer_decay ** (len(layers) - 1 - depth)
            training = [p for p in layer.values() if p.requires_grad]
            for decay, chosen in (
                (weight_decay, [p for p in training if p.ndim > 1]),
                (0.0, [p for p in training if p.ndim <= 1]),
            ):
                if chosen:
                    groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
        return groups

    def train(self, mode: bool = True) -> Trainable:
        """Training mode for the parts that train; frozen ones keep their statistics and drop nothing out."""
        super().train(mode)
        if mode:
            _rest(self)
        return self


def _rest(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        _rest(child)


def _matches(name: str, pattern: str) -> bool:
    """Whether a run of the name's dotted parts, of the pattern's length, matches it part by part."""
    parts, wanted = name.split("."), pattern.split(".")
    return any(
        all(fnmatch(part, want) for part, want in zip(parts[i:], wanted, strict=False))
        for i in range(len(parts) - len(wanted) + 1)
    )


def _parts(names: dict[str, nn.Parameter]) -> list[str]:
    """Every dotted ending and run that a pattern may name, without repetition."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for i in range(len(parts)):
            for j in range(i + 1, len(parts) + 1):
                found[".".join(parts[i:j])] = None
    return list(found)
