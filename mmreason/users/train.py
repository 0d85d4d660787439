"""Training the user tower: which item comes next, against the batch's other targets and items drawn evenly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config import Config
from mmreason.device import pick_device
from mmreason.files import replaced_folder, write_json
from mmreason.processes import wait_for_others
from mmreason.products import combined, fingerprint
from mmreason.schema import EVENTS, DataError, Interaction
from mmreason.store.store import EmbeddingStore
from mmreason.training.accelerator import make_accelerator
from mmreason.training.loop import TrainingLoop
from mmreason.training.task import Task, TrainingStage
from mmreason.users.model import NUMBERS, Histories, UserTower, before_last, histories, known_steps


def next_item_loss(
    users: Tensor, targets: Tensor, items: Tensor, candidates: Tensor, log_q: Tensor, scale: Tensor
) -> Tensor:
    """Sampled softmax over candidate items with popularity correction (logQ; Yi et al., RecSys 2019).

    A popular item is drawn as a negative more often than a rare one; taking the logarithm of how often from
    its logit leaves an unbiased estimate of the softmax over all items.

    Args:
        users: (T, D) float, unit length: the user just before each target.
        targets: (T,) long, the item that came next; each is among ``candidates``.
        items: (C, D) float, unit length: the candidates' vectors.
        candidates: (C,) long, sorted item rows without repeats.
        log_q: (C,) float, logarithm of each candidate's expected number of draws; zeros for a full softmax.
        scale: Scalar, the inverse temperature.

    Returns:
        Scalar, mean over the targets; 0 if there is none.

    Example:
        >>> x = torch.eye(3)
        >>> rows = torch.arange(3)
        >>> bool(next_item_loss(x, rows, x, rows, torch.zeros(3), torch.tensor(100.0)) < 1e-6)
        True
    """
    logits = scale * users @ items.T - log_q
    total = F.cross_entropy(logits, torch.searchsorted(candidates, targets), reduction="sum")
    return total / max(1, len(targets))


@dataclass
class _Sequences:
    """All training steps end to end; user u's are ``starts[u]`` to ``starts[u + 1]``."""

    steps: Histories  # (1, S) and (1, S, 8)
    starts: Tensor

    @classmethod
    def of(cls, users: Sequence[Sequence[Interaction]], rows: dict[str, int], reference: float) -> _Sequences:
        parts = [histories([user], rows, len(user), reference) for user in users]
        steps = Histories(
            torch.cat([p.items for p in parts], 1),
            torch.cat([p.events for p in parts], 1),
            torch.cat([p.numbers for p in parts], 1),
            torch.cat([p.lengths for p in parts]),
        )
        return cls(steps, F.pad(steps.lengths.cumsum(0), (1, 0)))

    def draw(self, count: int, length: int, generator: torch.Generator) -> tuple[Histories, Tensor, Tensor]:
        """Stretches of at most ``length`` steps, long histories more often, but less than in proportion.

        Returns:
            The stretches without their last step as histories, (B, H + 1) targets, and (B, H + 1) whether
            there is one: a stretch that starts in the middle says nothing of users without history.
        """
        lengths = self.steps.lengths
        users = torch.multinomial(lengths.float().sqrt(), count, replacement=True, generator=generator)
        ends = 1 + (torch.rand(count, generator=generator) * (lengths[users] + length // 2)).long()
        ends = ends.clamp(max=lengths[users])
        begins = (ends - length).clamp(min=0)
        sizes = ends - begins
        places = torch.arange(int(sizes.max()))[None, :]
        inside = places < sizes[:, None]
        index = torch.where(inside, self.starts[users][:, None] + begins[:, None] + places, 0)
        targets = self.steps.items[0, index]
        chosen = self.steps.events[0, index] != EVENTS.index("impression")  # being shown a thing is no choice
        valid = inside & chosen & ~((places == 0) & (begins[:, None] > 0))
        inputs = index[:, :-1]
        return (
            Histories(
                self.steps.items[0, inputs],
                self.steps.events[0, inputs],
                self.steps.numbers[0, inputs].view(count, -1, NUMBERS),
                sizes - 1,
            ),
            targets,
            valid,
        )


@dataclass
class UserBatch:
    """One process's stretches of histories, and the candidates of all processes.

    Attributes:
        histories: (B, H) stretches without their last step.
        targets: (B, H + 1) long, rows of the items that came next.
        valid: (B, H + 1) bool, whether there is a target.
        candidates: (C,) long, sorted rows of the items that targets are told from.
        log_q: (C,) float, logarithm of each candidate's expected number of draws.
        needed: (N,) long, sorted rows of all items that the step embeds.
        known: (N,) long, their residuals; 0 where there is none or it is dropped.
    """

    histories: Histories
    targets: Tensor
    valid: Tensor
    candidates: Tensor
    log_q: Tensor
    needed: Tensor
    known: Tensor

    def to(self, device: torch.device) -> UserBatch:
        """The batch on another device."""
        return UserBatch(*(value.to(device) for value in vars(self).values()))


class NextItem(nn.Module):
    """The loss of a tower on a :class:`UserBatch`, as one module, so that several processes may train it.

    Args:
        tower: What trains.
        content: (I, C) content vectors of the items.
    """

    content: Tensor

    def __init__(self, tower: UserTower, content: Tensor) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("content", content, persistent=False)

    def forward(self, batch: UserBatch) -> Tensor:
        """The mean loss over the batch's targets."""
        # Items of histories and candidates are embedded once.
        vectors = self.tower.item_vectors(self.content[batch.needed], batch.known)
        items = vectors[torch.searchsorted(batch.needed, batch.candidates)]
        history = vectors[torch.searchsorted(batch.needed, batch.histories.items.contiguous())]
        states = self.tower.states(history, batch.histories)
        return next_item_loss(
            states[batch.valid],
            batch.targets[batch.valid],
            items,
            batch.candidates,
            batch.log_q,
            self.tower.logit_scale,
        )


class UserTask(Task):
    """Trains a tower in place on what followed what; each user's last step is held out to choose the best state.

    Args:
        tower: New or trained, on its device.
        content: (N, C) content vectors of the items, which stay as they are.
        ids: Their N ids.
        users: A history per user; steps with an item that ``ids`` lacks are left out.
        accelerator: Accelerate's.
        seed: Of the stretches, the negatives and the residuals that are dropped.

    Raises:
        DataError: If no user has two steps.
    """

    bound_to_data: ClassVar[tuple[str, ...]] = ("tower.residual.*",)

    def __init__(
        self,
        tower: UserTower,
        content: np.ndarray | Tensor,
        ids: Sequence[str],
        users: Sequence[Sequence[Interaction]],
        accelerator: Accelerator,
        seed: int = 0,
    ) -> None:
        self.rows = {item: row for row, item in enumerate(ids)}
        kept = [steps for user in users if len(steps := known_steps(user, self.rows)) >= 2]
        if not kept:
            raise DataError("no user has two steps with embedded items: nothing tells what comes next")
        tower.reference.fill_(max(step.timestamp for steps in kept for step in steps))
        self.held = [(past, self.rows[s[-1].item_id]) for s in kept if len(past := before_last(s)) >= 2]
        taught = [past if len(past := before_last(s)) >= 2 else s for s in kept]
        self.tower, self.ids, self.accelerator, self.seed = tower, ids, accelerator, seed
        self.device = tower.start.device
        self.model: NextItem = NextItem(
            tower, torch.as_tensor(content, dtype=torch.float32, device=self.device)
        )
        self.sequences = _Sequences.of(taught, self.rows, float(tower.reference))
        self.known = tower.rows_of(ids)
        counts = torch.bincount(self.sequences.steps.items[0], minlength=len(ids)).float()
        self.popularity = counts / counts.sum()

    def stages(self) -> list[TrainingStage]:
        """The one stage."""
        config = self.tower.config
        return [
            TrainingStage(
                "next item",
                config.steps,
                warmup=config.steps // 10,
                log_every=config.check_every,
                evaluate_every=config.check_every,
                save_every=config.check_every,
                best_by="valid_recall@10" if self.held else "",
            )
        ]

    def begin(self, stage: TrainingStage) -> list[dict[str, Any]]:
        """All of the tower trains."""
        return [{"params": list(self.tower.parameters()), "lr": self.tower.config.lr, "weight_decay": 0.01}]

    def batch(self, stage: TrainingStage, step: int) -> UserBatch:
        """A function of the seed and the step: all processes draw the same batch and take their share."""
        config, world = self.tower.config, self.accelerator.num_processes
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        drawn, targets, valid = self.sequences.draw(
            config.batch_size * world, config.max_history + 1, generator
        )
        candidates, log_q = self._candidates(targets[valid], generator)
        needed = torch.cat([candidates, drawn.items.flatten()]).unique()
        dropped = torch.rand(len(needed), generator=generator) < config.drop_known
        own = slice(self.accelerator.process_index, None, world)
        mine = Histories(*(value[own] for value in vars(drawn).values()))
        known = self.known[needed].masked_fill(dropped, 0)
        return UserBatch(mine, targets[own], valid[own], candidates, log_q, needed, known).to(self.device)

    def loss(self, model: Any, batch: UserBatch) -> Tensor:
        """See :class:`NextItem`."""
        return model(batch)

    def targets(self, batch: UserBatch) -> int:
        """Steps that are predicted."""
        return int(batch.valid.sum())

    @torch.no_grad()
    def evaluate(self, stage: TrainingStage) -> dict[str, float]:
        """Recall@10 of the held-out steps over all items that the user has not had."""
        if not self.held:
            return {}
        content = self.model.content
        users = self.tower.encode([past for past, _ in self.held], content, self.ids)
        items = self.tower.encode_items(content, self.ids)
        hits = 0
        for user, (past, target) in zip(users, self.held, strict=True):
            scores = items @ user
            scores[[self.rows[step.item_id] for step in past]] = -np.inf
            hits += int((scores >= scores[target]).sum()) <= 10
        return {"valid_recall@10": hits / len(self.held)}

    def _candidates(self, wanted: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows to tell targets from, and the logarithm of how often each is expected among them."""
        negatives, items = self.tower.config.negatives, len(self.ids)
        if negatives >= items:
            return torch.arange(items), torch.zeros(items)
        drawn = torch.randint(items, (negatives,), generator=generator)
        candidates = torch.cat([wanted, drawn]).unique()
        expected = len(wanted) * self.popularity + negatives / items
        return candidates, expected[candidates].log()


def align_users(config: Config) -> str:
    """Train the user tower of a run on its catalogue's interactions and its store's vectors; save ``users/``.

    Goes on from its last checkpoint, if settings and data are the same.

    Raises:
        DataError: If nothing is ingested or embedded, no user has two steps, or as :meth:`TrainingLoop.run`.
    """
    accelerator = make_accelerator(pick_device(config.device), "align-users")
    store = EmbeddingStore.open(config.path("embed"))
    ids, vectors = store.ids, store.get("fused")
    by_user: dict[str, list[Interaction]] = {}
    for step in read_catalogue(config.path("catalogue")).interactions:
        by_user.setdefault(step.user_id, []).append(step)
    rows = {item: row for row, item in enumerate(ids)}
    users = [known_steps(history, rows) for history in by_user.values()]
    if config.users.leave_out_last:
        users = [before_last(steps) for steps in users]
    known = sorted({step.item_id for steps in users for step in steps})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        tower = UserTower(vectors.shape[1], config.users, known).to(accelerator.device)
    log = fit_users(
        tower,
        vectors,
        ids,
        users,
        config.seed,
        accelerator=accelerator,
        checkpoints=config.path("checkpoints", "users"),
        identity=_identity(config),
        continue_training=config.continue_training,
    )
    if accelerator.is_main_process:
        with replaced_folder(config.path("users")) as folder:
            tower.save_pretrained(folder)
            write_json(folder / "log.json", log)
    wait_for_others()
    recalls = [row["valid_recall@10"] for row in log if "valid_recall@10" in row]
    held = f"; held-out next items R@10 {max(recalls):.1%}" if recalls else ""
    return f"{len(users):,} users, {len(known):,} items known; loss {log[0]['loss']:.2f} → {log[-1]['loss']:.2f}{held}"


def fit_users(
    tower: UserTower,
    content: np.ndarray | Tensor,
    ids: Sequence[str],
    users: Sequence[Sequence[Interaction]],
    seed: int = 0,
    *,
    accelerator: Accelerator | None = None,
    checkpoints: Path | None = None,
    identity: str = "",
    continue_training: bool = False,
) -> list[dict[str, Any]]:
    """Train a tower in place; see :class:`UserTask`.

    Args:
        tower: New or trained; moved nowhere, so put it on its device first.
        content: (N, C) content vectors of the items.
        ids: Their N ids.
        users: A history per user.
        seed: Of all that is drawn.
        accelerator: Accelerate's; None for one of the tower's device.
        checkpoints: Where checkpoints are kept; None for none.
        identity: See :class:`TrainingLoop`.
        continue_training: See :class:`TrainingLoop`.

    Returns:
        The log: step, loss and, every ``check_every`` steps, recall@10 on the held-out steps.

    Raises:
        DataError: If no user has two steps, or as :meth:`TrainingLoop.run`.
    """
    accelerator = accelerator or make_accelerator(tower.start.device, "align-users")
    task = UserTask(tower, content, ids, users, accelerator, seed)
    loop = TrainingLoop(
        task,
        task.stages(),
        name="users",
        folder=checkpoints,
        identity=identity,
        accelerator=accelerator,
        seed=seed,
        continue_training=continue_training,
    )
    return loop.run()


def _identity(config: Config) -> str:
    """Fingerprint of the vectors and histories that are read, and of the tower's settings."""
    read = [combined(fingerprint(product, config)) for product in ("vectors", "behaviours")]
    return hashlib.sha256(repr((read, config.users, config.seed)).encode()).hexdigest()
