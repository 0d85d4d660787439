"""The user tower: a history of items and behaviours to one vector in the items' space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreason.checkpoint import load_into, load_tensors, save_tensors
from mmreason.config import UserConfig
from mmreason.files import read_json, write_json
from mmreason.schema import EVENTS, DataError, Interaction

NUMBERS = 8  # log count, log seconds, has seconds, rating, has rating, log gap, era, has time
DAY, YEAR = 86_400.0, 365.25 * 86_400.0


@dataclass
class Histories:
    """Padded histories of B users, oldest step first; padding stands at the end.

    Attributes:
        items: (B, H) long, rows of the content matrix.
        events: (B, H) long, index into :data:`mmreason.schema.EVENTS`.
        numbers: (B, H, 8) float: count, seconds, rating, time since the step before, and when.
        lengths: (B,) long, steps of each user; may be 0.
    """

    items: Tensor
    events: Tensor
    numbers: Tensor
    lengths: Tensor

    def to(self, device: torch.device | str) -> Histories:
        """The histories on another device."""
        return Histories(*(x.to(device) for x in vars(self).values()))


def histories(
    users: Sequence[Sequence[Interaction]], rows: Mapping[str, int], length: int, reference: float = 0.0
) -> Histories:
    """The latest ``length`` steps of each user as tensors; steps with an item that ``rows`` lacks are left out.

    Args:
        users: A history per user, in any order of time.
        rows: Item id → row of the content matrix.
        length: Longest history H.
        reference: Unix seconds that a step's era is counted from; see :attr:`UserTower.reference`.

    Example:
        >>> steps = [Interaction("u", "a", timestamp=5.0), Interaction("u", "b", timestamp=9.0)]
        >>> histories([steps, []], {"a": 0, "b": 1}, length=4).items
        tensor([[0, 1],
                [0, 0]])
    """
    kept = [known_steps(history, rows)[-length:] for history in users]
    width = max((len(steps) for steps in kept), default=0)
    batch = Histories(
        items=torch.zeros(len(kept), width, dtype=torch.long),
        events=torch.zeros(len(kept), width, dtype=torch.long),
        numbers=torch.zeros(len(kept), width, NUMBERS),
        lengths=torch.tensor([len(steps) for steps in kept], dtype=torch.long),
    )
    for row, steps in enumerate(kept):
        if steps:
            n = len(steps)
            batch.items[row, :n] = torch.tensor([rows[step.item_id] for step in steps])
            batch.events[row, :n] = torch.tensor([EVENTS.index(step.event) for step in steps])
            batch.numbers[row, :n] = behaviours(steps, reference)
    return batch


def known_steps(history: Sequence[Interaction], rows: Mapping[str, int]) -> list[Interaction]:
    """The steps whose item has a row, oldest first; of equal times the given order stays."""
    return sorted((step for step in history if step.item_id in rows), key=lambda step: step.timestamp)


def before_last(steps: Sequence[Interaction]) -> list[Interaction]:
    """What a user had done before taking their last item: a purchase after a click is no new item."""
    return [step for step in steps[:-1] if step.item_id != steps[-1].item_id]


def behaviours(steps: Sequence[Interaction], reference: float = 0.0) -> Tensor:
    """(n, 8) float: what the user did in each step, at about unit scale.

    Recency is told by the past alone (time since the step before, and the era), so that one pass over a
    history can predict every next item without seeing when it comes.
    """
    table = torch.zeros(len(steps), NUMBERS)
    before = None
    for row, step in enumerate(steps):
        timed = step.timestamp > 0
        gap = max(0.0, step.timestamp - before) if timed and before is not None else 0.0
        before = step.timestamp if timed else before
        table[row] = torch.tensor(
            [
                math.log1p(max(0, step.count)) / 3,
                math.log1p(max(0.0, step.seconds or 0.0)) / 8,
                float(step.seconds is not None),
                (step.rating - 3) / 2 if step.rating is not None else 0.0,
                float(step.rating is not None),
                math.log1p(gap / DAY * 24) / 6,
                max(-3.0, min(3.0, (step.timestamp - reference) / YEAR / 5)) if timed and reference else 0.0,
                float(timed),
            ]
        )
    return table


class UserTower(nn.Module):
    """A causal Transformer over history steps; the output after the last step is the user's vector.

    An item is its content vector, frozen: the shared space's, or any encoder's. With ``config.adapt_items`` it
    passes an adapter, and items known in training add a learned residual (dropped out at random, so that content
    alone is trained too; DropoutNet, NeurIPS 2017). A new item has content only and needs no training. A user
    without history gets the output of a learned start token.

    Args:
        content: Length C of the items' content vectors.
        config: Sizes.
        known: Ids of the items that get a residual, with ``config.adapt_items``.

    Attributes:
        reference: Unix seconds that eras are counted from: the latest step of the training.

    Example:
        >>> tower = UserTower(16, UserConfig(layers=1, heads=2)).eval()
        >>> content = torch.randn(3, 16)
        >>> user = tower(content, histories([[Interaction("u", "a")], []], {"a": 0}, length=5))
        >>> (user @ tower.item_vectors(content).T).shape
        torch.Size([2, 3])
    """

    reference: Tensor

    def __init__(self, content: int, config: UserConfig, known: Sequence[str] = ()) -> None:
        super().__init__()
        self.content, self.config = content, config
        self.dim = width = config.dim or content
        self.known = {item: row + 1 for row, item in enumerate(known)}
        # Where sizes agree the items start as what they are in the shared space.
        self.skip = nn.Identity() if content == width else nn.Linear(content, width)
        if config.adapt_items:
            last = nn.Linear(width, width)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.adapter = nn.Sequential(nn.Linear(content, width), nn.GELU(), last)
            self.residual = nn.Embedding(len(known) + 1, width, padding_idx=0)
            nn.init.zeros_(self.residual.weight)
        self.item_dropout = nn.Dropout(config.dropout)
        self.event = nn.Embedding(len(EVENTS), width)
        self.number = nn.Sequential(nn.Linear(NUMBERS, width), nn.GELU(), nn.Linear(width, width))
        self.position = nn.Parameter(torch.randn(config.max_history + 1, width) * 0.02)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.item_in = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 4 * width, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, config.layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.out = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / config.temperature)))
        self.register_buffer("reference", torch.zeros((), dtype=torch.float64))

    @property
    def logit_scale(self) -> Tensor:
        """Inverse temperature, held below 100 so that it cannot run away."""
        return self.log_scale.exp().clamp(max=100.0)

    def rows_of(self, ids: Sequence[str]) -> Tensor:
        """(N,) long: each item's residual; 0, which is none, for items that training did not know."""
        return torch.tensor([self.known.get(item, 0) for item in ids], dtype=torch.long)

    def item_vectors(self, content: Tensor, known: Tensor | None = None) -> Tensor:
        """(N, C) content vectors to (N, D) unit vectors.

        Args:
            content: Content vectors.
            known: (N,) long from :meth:`rows_of`; None treats every item as new.
        """
        vectors = self.skip(content)
        if not self.config.adapt_items:
            return F.normalize(vectors, dim=-1)
        vectors = F.normalize(vectors + self.adapter(self.item_dropout(content)), dim=-1)
        if known is not None:
            vectors = F.normalize(vectors + self.residual(known), dim=-1)
        return vectors

    def forward(self, content: Tensor, batch: Histories, known: Tensor | None = None) -> Tensor:
        """Users as (B, D) unit vectors.

        Args:
            content: (N, C) content vectors that ``batch.items`` are rows of.
            batch: Histories of at most ``config.max_history`` steps.
            known: (N,) long from :meth:`rows_of`.
        """
        items = self.item_vectors(content[batch.items], None if known is None else known[batch.items])
        states = self.states(items, batch)
        return states[torch.arange(len(states), device=states.device), batch.lengths]

    def states(self, items: Tensor, batch: Histories) -> Tensor:
        """The user's vector before the first step and after each one.

        Args:
            items: (B, H, D) vectors of the history items.
            batch: Their behaviours.

        Returns:
            (B, H + 1, D) unit vectors; what follows a user's last step is meaningless.
        """
        steps = self.item_in(items) + self.event(batch.events) + self.number(batch.numbers)
        start = self.start.expand(len(items), 1, -1)
        tokens = self.norm(torch.cat([start, steps], 1) + self.position[: items.shape[1] + 1])
        length = tokens.shape[1]
        ahead = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        hidden = self.encoder(tokens, mask=ahead, is_causal=True)
        return F.normalize(self.out(hidden), dim=-1)

    @torch.no_grad()
    def encode(
        self,
        users: Sequence[Sequence[Interaction]],
        content: np.ndarray | Tensor,
        ids: Sequence[str],
        batch_size: int = 256,
    ) -> np.ndarray:
        """Embed users in evaluation mode, which it leaves on.

        Args:
            users: A history per user.
            content: (N, C) content vectors of the items that histories may name.
            ids: Their N ids.
            batch_size: Users per forward pass.

        Returns:
            (U, D) float32, unit length.
        """
        self.eval()
        device = self.start.device
        content = torch.as_tensor(content, dtype=torch.float32, device=device)
        known, rows = self.rows_of(ids).to(device), {item: row for row, item in enumerate(ids)}
        out = np.empty((len(users), self.dim), np.float32)
        for start in range(0, len(users), batch_size):
            batch = histories(
                users[start : start + batch_size], rows, self.config.max_history, float(self.reference)
            )
            out[start : start + batch_size] = self(content, batch.to(device), known).float().cpu().numpy()
        return out

    @torch.no_grad()
    def encode_items(self, content: np.ndarray | Tensor, ids: Sequence[str]) -> np.ndarray:
        """(N, C) content vectors of N items to (N, D) float32 unit vectors, residuals of known items added."""
        self.eval()
        content = torch.as_tensor(content, dtype=torch.float32, device=self.start.device)
        return self.item_vectors(content, self.rows_of(ids).to(content.device)).float().cpu().numpy()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        folder = Path(folder)
        save_tensors(folder / "model.safetensors", self.state_dict())
        write_json(
            folder / "config.json",
            {"type": "users", "content": self.content, "known": [*self.known], "config": asdict(self.config)},
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> UserTower:
        """Read what :meth:`save_pretrained` wrote.

        Raises:
            DataError: If a file is missing or of another shape.
        """
        folder = Path(folder)
        saved = read_json(folder / "config.json")
        if saved.get("type") != "users":
            raise DataError(f"{folder / 'config.json'}: not a user tower; give the folder align-users wrote")
        tower = cls(saved["content"], UserConfig(**saved["config"]), saved["known"])
        load_into(tower, load_tensors(folder / "model.safetensors"), folder / "model.safetensors")
        return tower.eval()
