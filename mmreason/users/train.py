"""Training the user tower: which item comes next, against the batch's other targets and items drawn evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.checkpoint import write_json
from mmreason.config import Config
from mmreason.device import pick_device
from mmreason.schema import EVENTS, DataError, Interaction
from mmreason.store.store import EmbeddingStore
from mmreason.training.schedule import cosine
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
        Scalar, mean over the targets.

    Example:
        >>> x = torch.eye(3)
        >>> rows = torch.arange(3)
        >>> bool(next_item_loss(x, rows, x, rows, torch.zeros(3), torch.tensor(100.0)) < 1e-6)
        True
    """
    logits = scale * users @ items.T - log_q
    return F.cross_entropy(logits, torch.searchsorted(candidates, targets))


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


def align_users(config: Config) -> str:
    """Train the user tower of a run on its catalogue's interactions and its store's vectors; save ``users/``.

    Raises:
        DataError: If nothing is ingested or embedded, or no user has two steps.
    """
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
        tower = UserTower(vectors.shape[1], config.users, known).to(pick_device(config.device))
    log = fit_users(tower, vectors, ids, users, config.seed)
    tower.save_pretrained(config.path("users"))
    write_json(config.path("users", "log.json"), log)
    recalls = [row["valid_recall@10"] for row in log if "valid_recall@10" in row]
    held = f"; held-out next items R@10 {max(recalls):.1%}" if recalls else ""
    return f"{len(users):,} users, {len(known):,} items known; loss {log[0]['loss']:.2f} → {log[-1]['loss']:.2f}{held}"


def fit_users(
    tower: UserTower,
    content: np.ndarray | Tensor,
    ids: Sequence[str],
    users: Sequence[Sequence[Interaction]],
    seed: int = 0,
) -> list[dict[str, float]]:
    """Train a tower in place on what followed what; each user's last step is held out to choose the best state.

    Args:
        tower: New or trained; moved nowhere, so put it on its device first.
        content: (N, C) content vectors of the items, which stay as they are.
        ids: Their N ids.
        users: A history per user; steps with an item that ``ids`` lacks are left out.
        seed: Of the stretches, the negatives and the dropout.

    Returns:
        The log: step, loss and, every ``check_every`` steps, recall@10 on the held-out steps.

    Raises:
        DataError: If no user has two steps, or the loss is not finite.
    """
    config, device = tower.config, tower.start.device
    rows = {item: row for row, item in enumerate(ids)}
    kept = [steps for user in users if len(steps := known_steps(user, rows)) >= 2]
    if not kept:
        raise DataError("no user has two steps with embedded items: nothing tells what comes next")
    tower.reference.fill_(max(step.timestamp for steps in kept for step in steps))
    held = [(past, rows[s[-1].item_id]) for s in kept if len(past := before_last(s)) >= 2]
    taught = [past if len(past := before_last(s)) >= 2 else s for s in kept]
    sequences = _Sequences.of(taught, rows, float(tower.reference))
    content = torch.as_tensor(content, dtype=torch.float32, device=device)
    known = tower.rows_of(ids).to(device)
    popularity = torch.bincount(sequences.steps.items[0], minlength=len(ids)).float()
    popularity = (popularity / popularity.sum()).to(device)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=config.lr, weight_decay=0.01)
    log: list[dict[str, float]] = []
    best: tuple[float, dict[str, Tensor]] = (-1.0, {})
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), tqdm(total=config.steps, desc="users", disable=None) as bar:
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        for step in range(config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.lr * cosine(step, config.steps, config.steps // 10)
            tower.train()
            loss = _batch_loss(tower, sequences, content, known, popularity, generator)
            if not torch.isfinite(loss):
                raise DataError(f"the loss of step {step + 1} is not finite; look for items with bad vectors")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
            optimizer.step()
            bar.update()
            if (step + 1) % config.check_every == 0 or step + 1 == config.steps:
                row = {"step": step + 1, "loss": loss.item()}
                if held:
                    row["valid_recall@10"] = _held_out(tower, held, content, ids, known)
                    if row["valid_recall@10"] >= best[0]:
                        state = {name: x.detach().clone() for name, x in tower.state_dict().items()}
                        best = (row["valid_recall@10"], state)
                log.append(row)
                bar.set_postfix({name: f"{value:.3f}" for name, value in row.items() if name != "step"})
    if best[1]:
        tower.load_state_dict(best[1])
    tower.eval()
    return log


def _batch_loss(
    tower: UserTower,
    sequences: _Sequences,
    content: Tensor,
    known: Tensor,
    popularity: Tensor,
    generator: torch.Generator,
) -> Tensor:
    config, device = tower.config, content.device
    batch, targets, valid = sequences.draw(config.batch_size, config.max_history + 1, generator)
    wanted = targets[valid]
    if config.negatives >= len(content):
        candidates = torch.arange(len(content))
        log_q = torch.zeros(len(content), device=device)
    else:
        drawn = torch.randint(len(content), (config.negatives,), generator=generator)
        candidates = torch.cat([wanted, drawn]).unique()
        expected = len(wanted) * popularity + config.negatives / len(content)
        log_q = expected[candidates.to(device)].log()
    # Rows of history items and candidates are embedded once, and each with or without its residual.
    needed = torch.cat([candidates, batch.items.flatten()]).unique()
    dropped = torch.rand(len(needed), generator=generator) < config.drop_known
    place = needed.to(device)
    vectors = tower.item_vectors(content[place], known[place].masked_fill(dropped.to(device), 0))
    at = torch.searchsorted(needed, torch.cat([candidates, batch.items.flatten()]))
    items, history = vectors[at[: len(candidates)].to(device)], vectors[at[len(candidates) :].to(device)]
    states = tower.states(history.view(*batch.items.shape, -1), batch.to(device))
    return next_item_loss(
        states[valid.to(device)],
        wanted.to(device),
        items,
        candidates.to(device),
        log_q,
        tower.logit_scale,
    )


@torch.no_grad()
def _held_out(
    tower: UserTower,
    held: list[tuple[list[Interaction], int]],
    content: Tensor,
    ids: Sequence[str],
    known: Tensor,
) -> float:
    """Recall@10 of the held-out steps over all items that the user has not had."""
    users = torch.as_tensor(tower.encode([past for past, _ in held], content, ids), device=content.device)
    scores = users @ tower.item_vectors(content, known).T
    rows = {item: row for row, item in enumerate(ids)}
    hits = 0
    for row, (past, target) in enumerate(held):
        scores[row, [rows[step.item_id] for step in past]] = -torch.inf
        hits += int((scores[row] >= scores[row, target]).sum()) <= 10
    return hits / len(held)
