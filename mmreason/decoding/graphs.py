"""The pass that writes one token for every row, as CUDA graphs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmreason.decoding.attention import Pass
from mmreason.decoding.lm import CausalLM
from mmreason.decoding.memory import is_out_of_memory
from mmreason.decoding.slots import Slots

SIZES = 8  # numbers of rows that are recorded: eighths of the slots
logger = logging.getLogger(__name__)


@dataclass
class Recorded:
    """A pass of fixed shape.

    Attributes:
        embeds: (R, hidden_size), read by the pass.
        positions: (R,) long, read by the pass.
        graph: Its kernels.
        logits: (R, vocabulary), written by the pass.
    """

    embeds: Tensor
    positions: Tensor
    graph: torch.cuda.CUDAGraph
    logits: Tensor


class StepGraphs:
    """Records the pass once for each shape and replays it from then on.

    A pass of a small LM is a thousand kernels of some microseconds, which take longer to be started one by one from
    Python than to run (https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/). Rows are filled up to a
    recorded number; what fills them writes to the first position of slots that are free.

    Args:
        lm: The LM, on a GPU.
        cache: Its slots.
    """

    def __init__(self, lm: CausalLM, cache: Slots) -> None:
        self.lm, self.cache = lm, cache
        self.recorded: dict[tuple[int, int], Recorded] = {}
        self.pool: Any = None
        self.works = True

    def logits(self, embeds: Tensor, positions: Tensor) -> Tensor:
        """What the LM makes of the last token of each row.

        Args:
            embeds: (R, hidden_size).
            positions: (R,) long.

        Returns:
            (R, vocabulary), good until the next call.
        """
        rows = len(positions)
        unit = -(-self.cache.count // SIZES)
        size = min(self.cache.count, -(-rows // unit) * unit)
        if (size, self.cache.room) not in self.recorded and self.works:
            self._record(size)
        if not self.works:
            return self._pass(embeds, positions)
        step = self.recorded[size, self.cache.room]
        step.embeds[:rows] = embeds
        step.positions.zero_()[:rows] = positions
        step.graph.replay()
        return step.logits[:rows]

    def _pass(self, embeds: Tensor, positions: Tensor) -> Tensor:
        keep = torch.arange(len(positions), device=positions.device)
        return self.lm.over_slots(embeds, positions, Pass(self.cache, positions, []), keep)

    def _record(self, size: int) -> None:
        embeds = torch.zeros(size, self.lm.hidden_size, dtype=self.lm.dtype, device=self.lm.device)
        positions = torch.zeros(size, dtype=torch.long, device=self.lm.device)
        graph = torch.cuda.CUDAGraph()
        kept = [(tensor, tensor[:size, :, :1].clone()) for tensor in self.cache.tensors()]
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._pass(embeds, positions)
            torch.cuda.current_stream().wait_stream(stream)
            for tensor, first in kept:  # the trial wrote to it
                tensor[:size, :, :1] = first
            with torch.cuda.graph(graph, pool=self.pool):
                logits = self._pass(embeds, positions)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            logger.warning("this LM cannot be recorded as CUDA graphs and decodes more slowly: %s", error)
            self.works = False
            return
        self.pool = self.pool or graph.pool()
        self.recorded[size, self.cache.room] = Recorded(embeds, positions, graph, logits)
