"""The public face: a user and an item in, a reason with its evidence out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from mmreason.bulk.worded import WordedPlans
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config_reasons import BackendConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.embedder import Embedder
from mmreason.evidence.plan import choose_page, plans
from mmreason.evidence.schema import Candidate, Case, Plan
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.choice import opener
from mmreason.generate.embeddings import Embeddings
from mmreason.generate.ladder import Climbed, Ladder, Request, make_ladder, seed_of
from mmreason.generate.writers import LM
from mmreason.generate.writers.lm import LanguageModelWriter
from mmreason.generate.writers.planned import PlanWriter
from mmreason.generate.writers.server import ServerSpeaker
from mmreason.schema import DataError, Item, Reason, User
from mmreason.settings import NAME as SAVED
from mmreason.store.store import EmbeddingStore
from mmreason.wording.template import tells

WINDOW = 1024  # requests looked at together, so that slots are seldom empty
PLANS_WINDOW = 2048
"""Requests looked at together where a model reads plans: those that share words leave few texts to decode."""

DEFAULT_WRITERS = (LM, "template", "extract")

T = TypeVar("T")


class Reasoner:
    """Writes reasons and checks them.

    Args:
        ladder: Chooses among the writers' candidates.
        evidence: Facts and concepts of the items.
        items: Catalogue by id, so that a history may name items by id only.
        lm: The language model, if it takes part.
        embeddings: Of the items, for the language model.
        seed: Of every choice.
        language: Of the reasons; by default that of the item's text.

    Example:
        >>> reasoner = Reasoner.from_pretrained("runs/quickstart")               # doctest: +SKIP
        >>> reasoner.explain(user, item).text                                    # doctest: +SKIP
        'You keep coming back to red, and this dress is red too.'
    """

    def __init__(
        self,
        ladder: Ladder,
        evidence: EvidenceStore,
        items: Mapping[str, Item] | None = None,
        lm: LanguageModelWriter | PlanWriter | None = None,
        embeddings: Embeddings | None = None,
        seed: int = 0,
        language: str = "",
    ) -> None:
        self.ladder, self.evidence = ladder, evidence
        self.items = items if items is not None else {}
        self.lm, self.embeddings = lm, embeddings
        self.seed, self.language = seed, language

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        items: Mapping[str, Item] | None = None,
        store: EmbeddingStore | None = None,
        evidence: EvidenceStore | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_new_tokens: int = 48,
        writers: Sequence[str] = DEFAULT_WRITERS,
        packs: Sequence[str] = (),
        nli: str = "",
        entailment: float = 0.5,
        seed: int = 0,
        language: str = "",
        candidates: int = 1,
        backend: BackendConfig | None = None,
        worded: WordedPlans | None = None,
        share: bool = True,
    ) -> Reasoner:
        """Read a run, or the checkpoint of a reason model.

        Args:
            folder: A run's folder, whose catalogue, embeddings and evidence are used; or a local checkpoint, or
                ``hf://org/name``.
            items: Catalogue by id, so that a history may name items by id only.
            store: Embeddings of these items; what it lacks is embedded when needed.
            evidence: Facts of these items; those of others are read when needed.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            dtype: ``auto``, ``fp32`` or ``bf16``.
            max_new_tokens: Longest text of the language model, in tokens.
            writers: Which writers take part; ``lm`` only where there is a trained model.
            packs: Compliance packs beside those of language and domain.
            nli: A model of natural language inference that looks again at what passed, ``hf://…`` or a local folder.
            entailment: Smallest probability of entailment with which it lets a text pass.
            seed: Of every choice.
            language: Of the reasons; by default that of the item's text.
            candidates: Texts of each writer to choose from.
            backend: What decodes for the language model; None for the engine.
            worded: Plans that were put in words before, of a model that reads plans; None keeps them in memory.
            share: Plans of the same words are put in words once.

        Raises:
            DataError: If a file is missing or of another shape.
            WeightsError: If the model of ``nli`` cannot be read.
        """
        from encoders.weights import resolve_weights

        folder = resolve_weights(str(folder)) if str(folder).startswith("hf://") else Path(folder)
        if (folder / SAVED).is_file() and (folder / "catalogue").is_dir():
            items = items if items is not None else read_catalogue(folder / "catalogue").items
            store = store or _open_store(folder / "embed")
            evidence = evidence or EvidenceStore.open(folder / "evidence")
            folder = folder / "reason"
        elif not (folder / "config.json").is_file():
            raise DataError(f"{folder}: neither a run nor a checkpoint; give the folder of one")
        lm: LanguageModelWriter | PlanWriter | None = None
        embeddings, second = None, None
        texts = (worded or WordedPlans()) if share else None
        if LM in writers and backend is not None and backend.name == "openai":
            lm = PlanWriter(ServerSpeaker(backend, max_new_tokens, candidates), texts, most=1)
        elif LM in writers and (folder / "config.json").is_file():
            place = pick_device(device)
            writer = LanguageModelWriter.from_pretrained(
                folder,
                place,
                pick_dtype(dtype, place),
                max_new_tokens,
                candidates,
                backend.name if backend else "hf",
            )
            lm = writer
            if writer.model.config.inputs == "plan":
                lm = PlanWriter(writer, texts)
            embeddings = Embeddings(
                store, lambda: Embedder.from_pretrained(folder / "align", device, dtype), stored=items
            )
        if nli:
            from mmreason.generate.verify.nli import EntailmentCheck

            place = pick_device(device)
            second = EntailmentCheck.from_pretrained(nli, place, pick_dtype(dtype, place), entailment)
        evidence = evidence or EvidenceStore.open(None)
        ladder = make_ladder(writers, packs, evidence.sensitive, second, candidates, seed)
        return cls(ladder, evidence, items, lm, embeddings, seed, language)

    @classmethod
    def from_catalogue(cls, folder: str | Path, run_dir: str | Path = "", **settings: object) -> Reasoner:
        """Read a catalogue's folder as it is; nothing is trained, reasons come from its evidence.

        Args:
            folder: Tables, an export of a shop system, or a public set.
            run_dir: Where what is found is kept, so that a second call is quick; default ``runs/<folder's name>``.
            **settings: As of :meth:`from_pretrained`.

        Raises:
            DataError: If the catalogue cannot be read.

        Example:
            >>> reasoner = Reasoner.from_catalogue("my_shop/")                   # doctest: +SKIP
            >>> reasoner.explain(User("ann"), reasoner.items["coat-7"]).text     # doctest: +SKIP
            'Made of waxed cotton, with a hood that folds away.'
        """
        from mmreason.cli import config_of_folder
        from mmreason.pipeline import run

        config = config_of_folder(folder, run_dir)
        run(config, until="evidence")
        return cls.from_pretrained(config.path(), **settings)  # type: ignore[arg-type]

    def explain(self, user: User, item: Item) -> Reason:
        """The reason why a user would want an item; see :meth:`explain_many`."""
        return next(self.explain_many([(user, item)]))

    def explain_many(self, requests: Iterable[tuple[User, Item]], batch_size: int = 0) -> Iterator[Reason]:
        """Reasons for many (user, item) pairs, in order, in bounded memory.

        Args:
            requests: Users with their histories, and items. A history's interaction carries its ``item``,
                or names one that the reasoner knows.
            batch_size: Rows decoded together; 0 takes 128, on a GPU 512.

        Raises:
            DataError: If a history names an item that is not known.
            MediaError: If a picture or video cannot be read.
        """
        for climbed in self.climb_many(requests, batch_size):
            yield climbed.reason

    def climb_many(self, requests: Iterable[tuple[User, Item]], batch_size: int = 0) -> Iterator[Climbed]:
        """As :meth:`explain_many`, each reason with its plan and with what was stopped before it."""
        for climbed in self.try_many(requests, batch_size):
            yield _good(climbed)

    def try_many(self, requests: Iterable[tuple[User, Item]], batch_size: int = 0) -> Iterator[Climbed | str]:
        """As :meth:`climb_many`; where the language model fails at a request, its error in its place."""
        stream = iter(requests)
        together = PLANS_WINDOW if isinstance(self.lm, PlanWriter) else WINDOW
        while window := list(islice(stream, together)):
            asked = [
                Request(case, self.plans_of(case), seed=seed_of(case, self.seed))
                for case in self.cases(window)
            ]
            written = self._written(asked, batch_size)
            good = [
                replace(each, written=texts)
                for each, texts in zip(asked, written, strict=True)
                if not isinstance(texts, str)
            ]
            climbed = iter(self.ladder.climb_all(good))
            yield from (texts if isinstance(texts, str) else next(climbed) for texts in written)

    def explain_page(self, user: User, items: Sequence[Item]) -> list[Reason]:
        """Reasons for the items of one page: no opener, no fact and no tie dominates it.

        Args:
            user: Whose page it is.
            items: From the top to the bottom.

        Raises:
            DataError: If the history names an item that is not known.
        """
        return [climbed.reason for climbed in self.climb_page(user, items)]

    def climb_page(self, user: User, items: Sequence[Item]) -> list[Climbed]:
        """As :meth:`explain_page`, each reason with its plan and with what was stopped before it."""
        cases = self.cases([(user, item) for item in items])
        ranked: list[list[Plan]] = choose_page([self.plans_of(case) for case in cases])
        asked = [
            Request(case, best, seed=seed_of(case, self.seed))
            for case, best in zip(cases, ranked, strict=True)
        ]
        found: list[Climbed] = []
        openers: list[str] = []
        for each, written in zip(asked, self._written(asked), strict=True):
            request = replace(each, written=_good(written), openers=openers)
            [climbed] = self.ladder.climb_all([request])
            openers.append(opener(climbed.reason.text))
            found.append(climbed)
        return found

    def cases(self, requests: Sequence[tuple[User, Item]]) -> list[Case]:
        """What is known of each request.

        Raises:
            DataError: If a history names an item that is not known.
        """
        for user, _ in requests:
            for step in user.history:
                if step.item is None and step.item_id not in self.items:
                    raise DataError(
                        f"user {user.id!r}: history item {step.item_id!r} is unknown; give "
                        "Interaction(item=…), or the catalogue to Reasoner.from_pretrained(items=…)"
                    )
        return [self.evidence.case(user, item, self.items, self.language) for user, item in requests]

    @staticmethod
    def plans_of(case: Case) -> list[Plan]:
        """What may be said of a case, the best first."""
        return plans(case, tells)

    def show_picture_of(self, item_id: str, texts_of: str, pictures_of: str) -> None:
        """Make an item with one item's texts and another's pictures, to see which of the two a reason follows.

        Args:
            item_id: Of the new item.
            texts_of: The item with the texts.
            pictures_of: The item with the pictures.
        """
        told = [fact for fact in self.evidence.facts(texts_of) if fact.source != "picture"]
        seen = [fact for fact in self.evidence.facts(pictures_of) if fact.source == "picture"]
        self.evidence.put(item_id, [replace(fact, item_id=item_id) for fact in [*told, *seen]])
        if self.embeddings is not None:
            self.embeddings.add_chimera(item_id, texts_of, pictures_of)

    def _written(self, asked: Sequence[Request], batch_size: int = 0) -> list[list[Candidate] | str]:
        """The language model's candidates, or its error; none without one."""
        if self.lm is None:
            return [[] for _ in asked]
        if self.embeddings is not None and not isinstance(self.lm, PlanWriter):
            known = {item_id: item for each in asked for item_id, item in each.case.history_items.items()}
            known |= {each.case.item.id: each.case.item for each in asked}
            self.embeddings.add(known.values())
        return self.lm.write_all(asked, self.embeddings, batch_size)


def _good(found: T | str) -> T:
    """What was found.

    Raises:
        DataError: If it is an error.
    """
    if isinstance(found, str):
        raise DataError(found)
    return found


def _open_store(folder: Path) -> EmbeddingStore | None:
    return EmbeddingStore.open(folder) if (folder / "index.json").is_file() else None
