"""The public face of the model: a user and an item in, a reason with evidence out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from mmreason.device import pick_device, pick_dtype
from mmreason.embed.embedder import Embedder
from mmreason.evidence.claims import Vocabulary
from mmreason.evidence.probe import PictureProbe, picture_features
from mmreason.generate.decode import greedy
from mmreason.generate.embeddings import Embeddings
from mmreason.generate.verify import verify
from mmreason.reason.batch import Collator, request
from mmreason.reason.lm import load_tokenizer
from mmreason.reason.model import ReasonModel
from mmreason.schema import DataError, Item, Reason, User
from mmreason.store.store import EmbeddingStore

WINDOW = 8  # batches looked at together, so that rows of like length share one


class Reasoner:
    """Writes reasons and checks them.

    Example:
        >>> reasoner = Reasoner.from_pretrained("runs/quickstart/reason")        # doctest: +SKIP
        >>> reasoner.explain(user, item).text                                    # doctest: +SKIP
        'You keep coming back to red, and this dress is red too.'
    """

    def __init__(
        self,
        model: ReasonModel,
        tokenizer: Any,
        embeddings: Embeddings,
        vocabulary: Vocabulary,
        probe: PictureProbe,
        items: Mapping[str, Item] | None = None,
        max_new_tokens: int = 48,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.embeddings = embeddings
        self.vocabulary = vocabulary
        self.probe = probe
        self.items = dict(items or {})
        self.max_new_tokens = max_new_tokens

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        items: Mapping[str, Item] | None = None,
        store: EmbeddingStore | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_new_tokens: int = 48,
    ) -> Reasoner:
        """Read a checkpoint.

        Args:
            folder: A local checkpoint, or ``hf://org/name``.
            items: Catalogue by id, so that a history may name items by id only.
            store: Embeddings of these items; what it lacks is embedded when needed.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            dtype: ``auto``, ``fp32`` or ``bf16``.
            max_new_tokens: Longest reason in tokens.

        Raises:
            DataError: If a file is missing or of another shape.
        """
        from encoders.weights import resolve_weights

        folder = resolve_weights(str(folder)) if str(folder).startswith("hf://") else Path(folder)
        place = pick_device(device)
        model = ReasonModel.from_pretrained(folder, pick_dtype(dtype, place)).to(place)
        embeddings = Embeddings(
            store, lambda: Embedder.from_pretrained(folder / "align", device, dtype), stored=items
        )
        return cls(
            model,
            load_tokenizer(model.config.lm),
            embeddings,
            Vocabulary.from_json(_read(folder / "vocabulary.json")),
            PictureProbe.from_pretrained(folder / "probe"),
            items,
            max_new_tokens,
        )

    def explain(self, user: User, item: Item) -> Reason:
        """The reason why a user would want an item; see :meth:`explain_many`."""
        return next(self.explain_many([(user, item)]))

    def explain_many(self, requests: Iterable[tuple[User, Item]], batch_size: int = 32) -> Iterator[Reason]:
        """Reasons for many (user, item) pairs, in order, in bounded memory.

        Args:
            requests: Users with their histories, and items. A history's interaction carries its ``item``,
                or names one that the reasoner knows.
            batch_size: Rows decoded together.

        Raises:
            DataError: If a history names an item that is not known.
            MediaError: If a picture or video cannot be read.
        """
        stream = iter(requests)
        while window := list(islice(stream, WINDOW * batch_size)):
            yield from self._explain_window(window, batch_size)

    def _explain_window(self, window: list[tuple[User, Item]], batch_size: int) -> list[Reason]:
        known = self._known(window)
        collator = Collator(
            known,
            self.embeddings,  # type: ignore[arg-type]
            self.tokenizer,
            self.model.config,
            self.model.candidates.tolist(),
            self.probe,
        )
        samples = [request(user, item.id) for user, item in window]
        lengths = [
            sum(len(i.title) for i in self._history(user, known)) + len(item.title) for user, item in window
        ]
        reasons: dict[int, Reason] = {}
        order = sorted(range(len(window)), key=lambda row: lengths[row])
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            for row, (text, score) in zip(
                rows, self._decode(collator([samples[r] for r in rows])), strict=True
            ):
                user, item = window[row]
                history = self._history(user, known)
                evidence, verified = verify(
                    text, item, history, self.vocabulary, self._shown([item, *history])
                )
                reasons[row] = Reason(user.id, item.id, text, evidence, score, verified)
        return [reasons[row] for row in range(len(window))]

    def _known(self, window: list[tuple[User, Item]]) -> dict[str, Item]:
        """Every item of the window by id, embedded."""
        found = {i.item_id: i.item for user, _ in window for i in user.history if i.item is not None}
        found |= {item.id: item for _, item in window}
        for user, _ in window:
            for step in user.history:
                if step.item_id not in found:
                    if step.item_id not in self.items:
                        raise DataError(
                            f"user {user.id!r}: history item {step.item_id!r} is unknown; give "
                            "Interaction(item=…), or the catalogue to Reasoner.from_pretrained(items=…)"
                        )
                    found[step.item_id] = self.items[step.item_id]
        self.embeddings.add(list(found.values()))
        return found

    def _history(self, user: User, known: Mapping[str, Item]) -> list[Item]:
        return [known[i.item_id] for i in user.history]

    @torch.inference_mode()
    def _decode(self, batch: Any) -> list[tuple[str, float]]:
        batch = batch.to(next(self.model.parameters()).device)
        embeds, mask, _ = self.model.inputs(batch)
        out = greedy(self.model.lm, embeds, mask, self.max_new_tokens, self.tokenizer.eos_token_id)
        texts = [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in out.ids]
        return list(zip(texts, out.scores, strict=True))

    def _shown(self, items: list[Item]) -> dict[str, dict[str, str]]:
        """What each item's picture shows, as the probe reads it."""
        seen = [i for i in items if any(self.embeddings.mask(m, [i.id])[0] for m in ("image", "video"))]
        if not seen or not self.probe.values:
            return {}
        probabilities = self.probe.predict(picture_features(self.embeddings, [i.id for i in seen]))  # type: ignore[arg-type]
        best = {name: p.argmax(-1).tolist() for name, p in probabilities.items()}
        return {
            item.id: {name: self.probe.values[name][best[name][row]] for name in best}
            for row, item in enumerate(seen)
        }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the folder of a whole checkpoint") from None
