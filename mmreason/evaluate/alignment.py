"""``mmreason evaluate-alignment``: how good the shared space is, as figures, a map and one HTML page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.config import Config
from mmreason.embed.embedder import Embedder
from mmreason.embed.model import MODALITIES
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.next_item import (
    Score,
    item_knn,
    next_item_metrics,
    next_item_ranks,
    popularity,
)
from mmreason.evaluate.retrieval import COLD, KS, retrieval_by_pair, with_modalities
from mmreason.evaluate.showcase import with_media
from mmreason.evaluate.space_map import draw_map, project
from mmreason.evaluate.zero_shot import attribute_values, zero_shot
from mmreason.files import atomic_write, write_json
from mmreason.schema import DataError, Interaction, Item
from mmreason.store.store import EmbeddingStore
from mmreason.users.model import UserTower, before_last, known_steps

MAP_ITEMS = 400  # more than this crowd a map
GEOMETRY_ROWS = 2000  # pairs of rows grow with the square


def evaluate_alignment(config: Config) -> str:
    """Measure a run's embedding store; write ``evaluate/alignment.json``, ``alignment.png`` and ``alignment.html``.

    It needs the stages up to ``embed``; with ``align-users`` done before, the user tower is measured too.

    Raises:
        DataError: If a stage is missing or the store holds none of the catalogue's items.
    """
    catalogue = read_catalogue(config.path("catalogue"))
    store = EmbeddingStore.open(config.path("embed"))
    items = [item for item in catalogue.items.values() if item.id in store]
    if not items:
        raise DataError(
            f"{config.path('embed')} holds no item of {config.path('catalogue')}: embed this catalogue"
        )
    embedder = Embedder.from_pretrained(config.path("align"), config.device, config.dtype)
    result: dict[str, Any] = {
        "items": len(items),
        "without embedding": len(catalogue.items) - len(items),
        "retrieval": retrieval_by_pair(items, store),
        "zero-shot": _zero_shot(items, store, embedder),
        "geometry": geometry(items, store, config.seed),
        "users": user_metrics(config, catalogue, store),
    }
    picture, unreadable = _map(items, catalogue, store, config)
    if picture:
        with atomic_write(config.path("evaluate", "alignment.png")) as file:
            file.write(picture)
    result["media not shown on the map"] = unreadable
    write_json(config.path("evaluate", "alignment.json"), json.loads(json.dumps(result, default=_plain)))
    page = config.path("alignment.html")
    with atomic_write(page) as file:
        file.write(_page(result, picture, config).encode("utf-8", "replace"))
    return f"{summary(result)}; {page}"


def _zero_shot(items: Sequence[Item], store: EmbeddingStore, embedder: Embedder) -> dict[str, Any]:
    pictured = [item for item in with_modalities(items, store, "image") if item.split == "test"]
    pictures = store.get("image", [item.id for item in pictured])
    return zero_shot(embedder, pictured, pictures, attribute_values(items))


def geometry(items: Sequence[Item], store: EmbeddingStore, seed: int = 0) -> dict[str, dict[str, float]]:
    """Alignment and uniformity of cold items (Wang & Isola, ICML 2020); lower is better for both.

    Returns:
        ``alignment``: pair → mean squared distance of an item's two vectors. ``uniformity``: modality → log of
        the mean of exp(−2 d²) over pairs of items; 0 if all vectors are one, about −4 if they are spread evenly.
    """
    cold = [item for item in items if item.split == "test"]
    result: dict[str, dict[str, float]] = {"alignment": {}, "uniformity": {}}
    for a, b in permutations(MODALITIES, 2):
        ids = [item.id for item in with_modalities(cold, store, a, b)]
        if a < b and len(ids) > 1:
            result["alignment"][f"{a}–{b}"] = alignment(store.get(a, ids), store.get(b, ids))
    rng = np.random.default_rng(seed)
    for m in MODALITIES:
        ids = [item.id for item in with_modalities(cold, store, m)]
        if len(ids) > 1:
            some = rng.permutation(len(ids))[:GEOMETRY_ROWS]
            result["uniformity"][m] = uniformity(store.get(m, [ids[i] for i in some]))
    return result


def alignment(a: np.ndarray, b: np.ndarray) -> float:
    """Mean squared distance of N pairs, (N, D) each.

    Example:
        >>> alignment(np.eye(2), np.eye(2))
        0.0
    """
    return float(((a - b) ** 2).sum(1).mean())


def uniformity(vectors: np.ndarray) -> float:
    """log mean exp(−2 d²) over the pairs of N vectors, (N, D).

    Example:
        >>> uniformity(np.ones((3, 2)))
        0.0
    """
    from scipy.spatial.distance import pdist

    return float(np.log(np.exp(-2 * pdist(vectors, "sqeuclidean")).mean()))


@dataclass
class NextItemTest:
    """Leave-last-out: what each user took last, and what they had before.

    Attributes:
        past: U histories without the last item.
        seen: Their item rows.
        targets: U item rows, the last items.
        warm: (U,) bool, whether the target is in anyone's past.
    """

    past: list[list[Interaction]] = field(default_factory=list)
    seen: list[list[int]] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    warm: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


def leave_last_out(histories: Sequence[Sequence[Interaction]], rows: dict[str, int]) -> NextItemTest:
    """Split each history before its last item; users with nothing before it are left out.

    Args:
        histories: In any order of time.
        rows: Item id → row; steps with other items are left out.
    """
    test = NextItemTest()
    for history in histories:
        steps = known_steps(history, rows)
        if steps and (past := before_last(steps)):
            test.past.append(past)
            test.seen.append([rows[step.item_id] for step in past])
            test.targets.append(rows[steps[-1].item_id])
    trained = {row for seen in test.seen for row in seen}
    test.warm = np.array([target in trained for target in test.targets], dtype=bool)
    return test


def user_metrics(config: Config, catalogue: Catalogue, store: EmbeddingStore) -> dict[str, dict[str, Any]]:
    """Next-item metrics of the user tower, the mean of the history's vectors, item-kNN and popularity.

    Returns:
        ``warm`` and ``cold`` (the target is in no one's history but as a last step) → system → metrics, over
        all items; empty if there are no histories.
    """
    ids = store.ids
    by_user: dict[str, list[Interaction]] = {}
    for step in catalogue.interactions:
        by_user.setdefault(step.user_id, []).append(step)
    test = leave_last_out([*by_user.values()], {item: row for row, item in enumerate(ids)})
    if not test.targets:
        return {}
    vectors = store.get("fused")
    means = np.stack([vectors[seen].mean(0) for seen in test.seen])
    systems: dict[str, Score] = {
        "mean of the history": lambda users: means[users] @ vectors.T,
        "item-kNN": item_knn(test.seen, len(ids)),
        "popularity": popularity(test.seen, len(ids)),
    }
    if config.path("users", "config.json").exists():
        systems = {"user tower": _tower_score(config, test, vectors, ids)} | systems
    result: dict[str, dict[str, Any]] = {}
    for name, score in systems.items():
        ranks = next_item_ranks(score, test.targets, test.seen)
        for kind, chosen in (("warm", test.warm), ("cold", ~test.warm)):
            if chosen.any():
                result.setdefault(kind, {})[name] = next_item_metrics(ranks[chosen], KS)
    return result


def _tower_score(config: Config, test: NextItemTest, vectors: np.ndarray, ids: Sequence[str]) -> Score:
    tower = UserTower.from_pretrained(config.path("users"))
    if tower.content != vectors.shape[1]:
        raise DataError(
            f"{config.path('users')}: made for vectors of {tower.content}, the store's have {vectors.shape[1]}; "
            "run align-users again"
        )
    users, items = tower.encode(test.past, vectors, ids), tower.encode_items(vectors, ids)
    return lambda rows: users[rows] @ items.T


def _map(
    items: Sequence[Item], catalogue: Catalogue, store: EmbeddingStore, config: Config
) -> tuple[bytes, list[str]]:
    """A map of at most 400 cold items, of all items where fewer than ten are cold; empty of a single item."""
    if len(items) < 2:
        return b"", []
    cold = [item for item in items if item.split == "test"]
    pool = cold if len(cold) >= 10 else list(items)
    order = np.random.default_rng(config.seed).permutation(len(pool))[:MAP_ITEMS]
    chosen = [pool[row] for row in order]
    ids = [item.id for item in chosen]
    # A picture's place is its picture's or video's vector, so that the line to the text shows the alignment.
    looks = np.where(store.mask("video", ids)[:, None], store.get("video", ids), store.get("fused", ids))
    looks = np.where(store.mask("image", ids)[:, None], store.get("image", ids), looks)
    told = store.mask("text", ids)
    points = project(np.concatenate([looks, store.get("text", ids)[told]]), config.seed)
    texts = np.full((len(ids), 2), np.nan)
    texts[told] = points[len(ids) :]
    title = f"{len(ids)} {'unseen ' if pool is cold else ''}items of {config.path().name} in the shared space (t-SNE)"
    return draw_map([with_media(i, catalogue) for i in chosen], points[: len(ids)], texts, title)


def summary(result: dict[str, Any]) -> str:
    """The figures that matter, in one line."""
    parts = [
        f"{row['pair']} R@1 {row['recall@1']:.0%} R@5 {row['recall@5']:.0%} of {row['gallery']} unseen"
        for row in result["retrieval"]
        if row["items"] == COLD and row["domain"] == "all" and row["pair"] in ("image → text", "text → image")
    ]
    parts += [
        f"zero-shot {name} {found['accuracy'].value:.0%} (most frequent {found['most frequent']:.0%})"
        for name, found in [*result["zero-shot"].items()][:3]
    ]
    for name, found in result["users"].get("warm", {}).items():
        parts.append(f"next item, {name}: R@10 {found['recall@10']:.1%}")
    if not result["retrieval"]:
        parts.append("no two items share two modalities, so nothing is retrieved")
    return "; ".join(parts)


def _page(result: dict[str, Any], picture: bytes, config: Config) -> str:
    environment = Environment(
        loader=PackageLoader("mmreason", "evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("alignment.html.jinja").render(
        name=config.path().name,
        result=result,
        ks=KS,
        picture="data:image/png;base64," + base64.b64encode(picture).decode("ascii") if picture else "",
    )


def _plain(value: Any) -> Any:
    """Proportions as numbers, for JSON."""
    if isinstance(value, Proportion):
        return {"value": value.value, "hits": value.hits, "total": value.total, "ci95": list(value.interval)}
    raise TypeError(type(value).__name__)
