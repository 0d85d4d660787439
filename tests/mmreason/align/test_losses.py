"""Losses: values against open_clip's own, and equal however they are computed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor

from mmreason import DataError, Item
from mmreason.align.losses import (
    Gathered,
    PairLoss,
    cached_backward,
    info_nce,
    item_codes,
    mine_hard_negatives,
    normalise_pairs,
    same_rows,
    siglip,
)

SCALE, BIAS = torch.tensor(12.0), torch.tensor(-6.0)


def _unit(rows: int, seed: int = 0, dim: int = 8) -> Tensor:
    x = F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)
    return x.requires_grad_()


def _codes(*values: int) -> Tensor:
    return torch.tensor(values)[:, None]


def _gathered(codes: Tensor) -> Gathered:
    return Gathered.of(codes, local=False)


def _with_gradients(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return [loss, *torch.autograd.grad(loss, inputs)]


def _close(a: list[Tensor], b: list[Tensor], tolerance: float = 1e-6) -> bool:
    return all(torch.allclose(x, y, atol=tolerance, rtol=tolerance) for x, y in zip(a, b, strict=True))


def test_info_nce_is_open_clips() -> None:
    a, b = _unit(33), _unit(33, 1)
    everything = torch.ones(33).bool()
    ours = info_nce(a, b, SCALE, valid=everything, gathered=_gathered(_codes(*range(1, 34))))
    theirs = ClipLoss()(a, b, SCALE)
    assert abs(ours - theirs) < 1e-6
    assert _close(_with_gradients(ours, a, b), _with_gradients(theirs, a, b))


def test_siglip_is_open_clips() -> None:
    a, b = _unit(33), _unit(33, 1)
    everything = torch.ones(33).bool()
    ours = siglip(a, b, SCALE, BIAS, valid=everything, gathered=_gathered(_codes(*range(1, 34))))
    theirs = SigLipLoss()(a, b, SCALE, BIAS)
    assert torch.allclose(ours, theirs, rtol=1e-6)
    assert _close(_with_gradients(ours, a, b), _with_gradients(theirs, a, b))


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_chunked_is_unchunked(kind: str, chunk: int) -> None:
    a, b, scale = _unit(11), _unit(11, 1), torch.tensor(9.0, requires_grad=True)
    masks = {"image": torch.arange(11) != 3, "text": torch.arange(11) != 5}
    codes = _codes(1, 2, 3, 4, 5, 6, 7, 1, 1, 0, 0)

    def loss(size: int) -> list[Tensor]:
        whole = PairLoss({("image", "text"): 1.0}, kind, dims=(4,), chunk=size)  # type: ignore[arg-type]
        value = whole({"image": a, "text": b}, masks, codes, scale, BIAS)
        return _with_gradients(value, a, b, scale)

    assert _close(loss(0), loss(chunk))


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
def test_rows_of_one_product_are_no_negatives_of_each_other(kind: str) -> None:
    a = _unit(4).detach()
    a[1] = a[0]  # two variants that look and read the same
    kept, scale, bias = torch.ones(4).bool(), torch.tensor(100.0), torch.tensor(-60.0)

    def loss(codes: Tensor) -> Tensor:
        whole = PairLoss({("x", "y"): 1.0}, kind)  # type: ignore[arg-type]
        return whole({"x": a, "y": a.clone()}, {"x": kept, "y": kept}, codes, scale, bias)

    assert loss(_codes(1, 1, 3, 4)) < 1e-3 < 0.1 < loss(_codes(1, 2, 3, 4))


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
def test_rows_without_a_modality_do_not_count(kind: str) -> None:
    a, b = _unit(4), _unit(4, 1)
    whole = PairLoss({("x", "y"): 1.0}, kind)  # type: ignore[arg-type]
    kept, everything = torch.tensor([True, True, False, True]), torch.ones(3).bool()
    some = whole({"x": a, "y": b}, {"x": kept, "y": kept}, _codes(1, 2, 3, 4), SCALE, BIAS)
    only = whole(
        {"x": a[kept], "y": b[kept]}, {"x": everything, "y": everything}, _codes(1, 2, 4), SCALE, BIAS
    )
    assert torch.allclose(some, only)


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
def test_a_single_row_gives_no_loss_and_zero_gradients(kind: str) -> None:
    a, b, alone = _unit(1), _unit(1, 1), torch.ones(1).bool()
    whole = PairLoss({("x", "y"): 1.0}, kind)  # type: ignore[arg-type]
    loss = whole({"x": a, "y": b}, {"x": alone, "y": alone}, _codes(1), SCALE, BIAS)
    assert _close(_with_gradients(loss, a, b), [torch.tensor(0.0), torch.zeros(1, 8), torch.zeros(1, 8)], 0)


def test_a_modality_missing_throughout_leaves_the_other_pairs() -> None:
    vectors = {"image": _unit(5), "text": _unit(5, 1), "video": _unit(5, 2)}
    there, missing = torch.ones(5).bool(), torch.zeros(5).bool()
    pairs = normalise_pairs({}, list(vectors))
    whole = PairLoss(pairs)(
        vectors, {"image": there, "text": there, "video": missing}, _codes(1, 2, 3, 4, 5), SCALE
    )
    only = PairLoss({("image", "text"): 1.0})(
        vectors, {"image": there, "text": there}, _codes(1, 2, 3, 4, 5), SCALE
    )
    assert torch.allclose(whole, only)
    loss, gradient = _with_gradients(whole, vectors["video"])
    assert torch.isfinite(loss) and not gradient.any()


def test_weights_of_pairs_and_matryoshka_prefixes_are_means() -> None:
    vectors = {"a": _unit(6), "b": _unit(6, 1), "c": _unit(6, 2)}
    masks = dict.fromkeys(vectors, torch.ones(6).bool())
    codes = _codes(1, 2, 3, 4, 5, 6)

    def one(x: str, y: str, dim: int = 8) -> Tensor:
        cut = {n: F.normalize(v[:, :dim], dim=-1) for n, v in vectors.items()}
        return PairLoss({(x, y): 1.0})(cut, masks, codes, SCALE)

    pairs = normalise_pairs({"a-b": 3.0, "c-b": 1.0}, ["a", "b", "c"])
    weighted = PairLoss(pairs)(vectors, masks, codes, SCALE)
    assert torch.allclose(weighted, (3 * one("a", "b") + one("c", "b")) / 4)
    nested = PairLoss({("a", "b"): 1.0}, dims=(2, 4))(vectors, masks, codes, SCALE)
    assert torch.allclose(nested, (one("a", "b") + one("a", "b", 2) + one("a", "b", 4)) / 3)
    for bad in ({"a-d": 1.0}, {"a": 1.0}, {"a-b": 0.0}, {"a-a": 1.0}):
        with pytest.raises(DataError, match=r"align\.pairs"):
            normalise_pairs(bad, ["a", "b"])


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
def test_cached_is_uncached_with_dropout(kind: str) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Dropout(0.4), torch.nn.Linear(16, 8))
    scale = torch.nn.Parameter(torch.tensor(5.0))
    data, masks = torch.randn(12, 6), {"x": torch.ones(12).bool(), "y": torch.arange(12) != 2}
    codes = _codes(*range(1, 11), 1, 2)
    whole = PairLoss({("x", "y"): 1.0}, kind)  # type: ignore[arg-type]
    parameters = [*net.parameters(), scale]

    def encode(part: Tensor) -> dict[str, Tensor]:
        return {
            "x": F.normalize(net(part), dim=-1),
            "y": F.normalize(net(part.flip(1)), dim=-1),
            "s": scale * 1,
        }

    def loss(outputs: list) -> Tensor:
        vectors = {m: torch.cat([o[m] for o in outputs]) for m in ("x", "y")}
        return whole(vectors, masks, codes, torch.stack([o["s"] for o in outputs]).mean(), BIAS)

    def gradients() -> list[Tensor]:
        found = [p.grad.clone() for p in parameters if p.grad is not None]
        for p in parameters:
            p.grad = None
        return found

    torch.manual_seed(7)
    plain = loss([encode(part) for part in data.split(5)])
    plain.backward()
    state, expected = torch.get_rng_state(), gradients()
    torch.manual_seed(7)
    cached = cached_backward(data.split(5), encode, loss)
    assert _close([plain.detach(), *expected], [cached, *gradients()])
    assert len(expected) == 5 and torch.equal(state, torch.get_rng_state())


def test_what_makes_two_items_one() -> None:
    long = "A warm coat for rainy days, made of wool, with a hood, four pockets and a belt. " * 3
    items = [
        Item("a", "Coat", long, images=[b"1"], group="g"),
        Item("b", "Hat", "Keeps you warm.", images=[b"2"], group="g"),  # a variant
        Item("c", "coat.", long.upper(), images=[b"3"]),  # the same text
        Item("d", "Scarf", "Soft.", images=[b"1"]),  # the same picture
        Item("e", "Coat", long + "New.", images=[b"4"]),  # nearly the same text
        Item("f"),
        Item("g2"),
    ]
    codes = torch.tensor([item_codes(item) for item in items])
    same = same_rows(codes, codes)
    assert same[0].tolist()[:4] == [True, True, True, True]
    assert torch.equal(same, same.T) and same.diagonal().all()
    assert not same[5, 6]  # two items with nothing share nothing
    plain = torch.tensor([item_codes(item, []) for item in items])
    assert torch.equal(same_rows(plain, plain), torch.eye(7).bool())
    with pytest.raises(DataError, match="no kind 'colour'"):
        item_codes(items[0], ["colour"])


def test_near_duplicates_are_texts_with_small_changes_and_no_other_colour() -> None:
    words = [f"word{i}" for i in range(60)]  # long enough to be boilerplate
    a, b = " ".join(words), " ".join([*words[:-1], "other"])
    other = " ".join(w[::-1] + "x" for w in words)
    red, blue = (f"A cotton hoodie with a zip and a hood in {c}." for c in ("red", "blue"))
    codes = torch.tensor(
        [item_codes(Item(str(i), t), ["near_text"]) for i, t in enumerate((a, b, other, red, blue))]
    )
    same = same_rows(codes, codes)
    assert same[0, 1] and not same[0, 2] and not same[3, 4]


def test_hard_negatives_are_near_and_no_positives() -> None:
    keys = F.normalize(
        torch.tensor([[1.0, 0, 0], [0.95, 0.3, 0], [0.9, 0.45, 0], [0, 1, 0], [0, 0, 1], [1, 0.01, 0]]),
        dim=-1,
    )
    codes = _codes(1, 1, 2, 3, 4, 5)
    hard = mine_hard_negatives(keys, keys, codes, 2)
    # Row 1 is a variant of row 0, and row 5 scores like its own partner: likely a right answer.
    assert hard[0, 0] == 2
    assert mine_hard_negatives(keys[:2], keys[:2], codes[:2], 3).tolist() == [[-1] * 3] * 2
