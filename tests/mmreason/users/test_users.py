"""The user tower: histories to tensors, batched = single, cold items, logQ, and learning what comes next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmreason.config import UserConfig
from mmreason.schema import DataError, Interaction
from mmreason.users.model import UserTower, behaviours, histories
from mmreason.users.train import fit_users, next_item_loss

IDS = [f"i{n}" for n in range(12)]
SMALL = UserConfig(
    layers=1, heads=2, dropout=0.1, max_history=6, steps=60, batch_size=32, check_every=20, lr=3e-3
)


def _content(items: int = 12, size: int = 16) -> torch.Tensor:
    return F.normalize(torch.randn(items, size, generator=torch.Generator().manual_seed(0)), dim=-1)


def _walk(start: int, length: int, items: int = 12) -> list[Interaction]:
    """A user who goes round the items in order: what comes next is certain."""
    return [
        Interaction("u", IDS[(start + k) % items], "click", timestamp=1000.0 * (k + 1)) for k in range(length)
    ]


def _tower(config: UserConfig = SMALL, known: tuple[str, ...] = ()) -> UserTower:
    torch.manual_seed(0)
    return UserTower(16, config, known).eval()


def test_histories_are_the_latest_steps_in_order_of_time() -> None:
    steps = [Interaction("u", "i2", timestamp=9.0), Interaction("u", "gone", timestamp=8.0), *_walk(0, 1)]
    batch = histories([steps, [], _walk(3, 9)], {item: row for row, item in enumerate(IDS)}, length=4)
    assert batch.lengths.tolist() == [2, 0, 4]
    assert batch.items.tolist() == [[2, 0, 0, 0], [0, 0, 0, 0], [8, 9, 10, 11]]


def test_behaviours_tell_event_count_seconds_rating_and_recency() -> None:
    steps = [
        Interaction("u", "a", "view", count=3, seconds=40.0, timestamp=86_400.0),
        Interaction("u", "b", "rating", rating=5.0, timestamp=2 * 86_400.0),
        Interaction("u", "c"),
    ]
    table = behaviours(steps, reference=2 * 86_400.0)
    assert table[0, 1] > 0 and table[0, 2] == 1 and table[1, 2] == 0
    assert (table[:, 3] == torch.tensor([0.0, 1.0, 0.0])).all() and table[1, 4] == 1
    assert table[0, 5] == 0 < table[1, 5] and table[0, 6] < table[1, 6] == 0
    assert table[2, 7] == 0 and table.isfinite().all()


def test_batched_equals_single_and_padding_does_not_matter() -> None:
    tower, users = _tower(), [_walk(0, 5), [], _walk(4, 2)]
    together = tower.encode(users, _content(), IDS)
    alone = np.concatenate([tower.encode([user], _content(), IDS) for user in users])
    assert np.allclose(together, alone, atol=1e-6)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_no_history_is_the_learned_default_and_behaviours_count() -> None:
    tower = _tower()
    assert np.array_equal(*tower.encode([[], [Interaction("u", "unknown item")]], _content(), IDS))
    bought = [replace(step, event="purchase") for step in _walk(0, 2)]
    a, b = tower.encode([_walk(0, 2), bought], _content(), IDS)
    assert np.abs(a - b).max() > 1e-4


def test_the_state_before_a_step_does_not_see_it() -> None:
    tower, content = _tower(), _content()
    rows = {item: row for row, item in enumerate(IDS)}
    short, long = histories([_walk(0, 3)], rows, 6), histories([_walk(0, 5)], rows, 6)
    with torch.no_grad():
        a = tower.states(tower.item_vectors(content[short.items]), short)
        b = tower.states(tower.item_vectors(content[long.items]), long)
    assert torch.allclose(a, b[:, :4], atol=1e-6)


def test_items_stay_in_the_shared_space_unless_they_may_move() -> None:
    content = _content()
    fit = _tower(replace(SMALL, adapt_items=False))
    fit_users(fit, content, IDS, [_walk(s, 6) for s in range(12)])
    assert np.allclose(fit.encode_items(content, IDS), content, atol=1e-6)
    moved = _tower(replace(SMALL, adapt_items=True), tuple(IDS))
    assert np.allclose(moved.encode_items(content, IDS), content, atol=1e-6)  # before training
    fit_users(moved, content, IDS, [_walk(s, 6) for s in range(12)])
    vectors = moved.encode_items(content, IDS)
    assert np.abs(vectors - content.numpy()).max() > 1e-3
    new = moved.encode_items(content[:1], ["never seen"])
    assert np.allclose(np.linalg.norm(new), 1, atol=1e-5) and np.abs(new - vectors[:1]).max() > 0


@pytest.mark.parametrize("adapt", [False, True])
def test_training_learns_what_comes_next_and_is_seeded(adapt: bool) -> None:
    users, content = [_walk(s, 6) for s in range(12)], _content()
    logs, towers = [], []
    for _ in range(2):
        tower = _tower(replace(SMALL, adapt_items=adapt, negatives=4, steps=120), tuple(IDS))
        torch.manual_seed(len(logs))  # what was drawn before must not matter
        logs.append(fit_users(tower, content, IDS, users, seed=3))
        towers.append(tower)
    assert logs[0] == logs[1] and logs[0][-1]["loss"] < logs[0][0]["loss"]
    ranked = (
        towers[0].encode([_walk(s, 4) for s in range(12)], content, IDS)
        @ towers[0].encode_items(content, IDS).T
    )
    assert (ranked.argmax(1) == [(s + 4) % 12 for s in range(12)]).mean() > 0.7


def test_log_q_makes_the_sampled_softmax_the_full_one() -> None:
    """With negatives drawn by popularity, the corrected loss estimates the full softmax; the plain one does not."""
    generator = torch.Generator().manual_seed(0)
    items = F.normalize(torch.randn(50, 8, generator=generator), dim=-1)
    user, target, scale = items[:1], torch.tensor([0]), torch.tensor(3.0)
    full = F.cross_entropy(scale * user @ items.T, target)
    q = torch.softmax(torch.linspace(3, 0, 50), 0)
    estimates: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(300):
        drawn = torch.multinomial(q, 400, replacement=True, generator=generator)
        candidates = torch.cat([target, drawn]).unique()
        for corrected in (True, False):
            # A unique candidate's chance of being there at all; the target always is.
            log_q = torch.log(1 - (1 - q[candidates]) ** 400) if corrected else torch.zeros(len(candidates))
            log_q = torch.where(candidates == 0, torch.zeros(()), log_q)
            loss = next_item_loss(user, target, items[candidates], candidates, log_q, scale)
            estimates[corrected].append(loss.item())
    corrected, plain = (abs(np.mean(estimates[c]) - full.item()) for c in (True, False))
    assert corrected < 0.02 and corrected < plain / 3


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    tower = _tower(replace(SMALL, adapt_items=True, dim=8), ("i0", "i5"))
    tower.reference.fill_(1.5e9)
    tower.save_pretrained(tmp_path)
    again = UserTower.from_pretrained(tmp_path)
    users = [_walk(0, 4), []]
    assert np.array_equal(again.encode(users, _content(), IDS), tower.encode(users, _content(), IDS))
    assert again.known == tower.known and float(again.reference) == 1.5e9
    saved = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(saved | {"type": "align"}))
    with pytest.raises(DataError, match="not a user tower"):
        UserTower.from_pretrained(tmp_path)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(DataError, match="no user has two steps"):
        fit_users(_tower(), _content(), IDS, [_walk(0, 1), []])
    bad = _content()
    bad[3] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        fit_users(_tower(), bad, IDS, [_walk(s, 6) for s in range(12)])
