"""The layers of an encoder by depth, and a training mode that leaves its frozen parts alone."""

from __future__ import annotations

from torch import nn

# Registered before the blocks by some towers, used after them.
_AFTER_BLOCKS = ("proj", "text_projection")


class Trainable(nn.Module):
    """A module of which parts may train, those whose parameters require gradients."""

    def blocks(self) -> list[nn.Module]:
        """The residual blocks, in order from the input; empty if there are none."""
        return []

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
