"""What a configuration asks the bulk job for: the requests, their keys, and the reasoner that writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from encoders.digest import file_digest
from mmreason.bulk.asked import Asked
from mmreason.bulk.attempts import Write
from mmreason.bulk.job import Job
from mmreason.bulk.parts import read_progress
from mmreason.bulk.windows import Spent
from mmreason.bulk.worded import NAME, WordedPlans
from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.config import Config
from mmreason.evidence.store import SENSITIVE, EvidenceStore
from mmreason.files import read_json
from mmreason.generate.reasoner import PLANS_WINDOW, Reasoner
from mmreason.generate.requests import Behaviours, Keys, read_requests
from mmreason.generate.writers import find_writers
from mmreason.generate.writers.planned import PlanWriter
from mmreason.generate.writers.server import INSTRUCTION, ServerSpeaker
from mmreason.processes import collect_rarely, share_of
from mmreason.products import combined, fingerprint
from mmreason.reason.plans import learn_wording
from mmreason.records import changed_settings, find_stage, stage_identity
from mmreason.schema import Reason
from mmreason.shards.loader import reason_samples
from mmreason.store.store import EmbeddingStore

_DIGITS = 12  # of a digest, where a person may compare two
_NOT_OF_WORDS = (
    *("generate.writers", "writers of other packages", "generate.language"),
    *("sensitive terms", "verify.nli", "verify.entailment"),
)
"""What lets a text through or chooses among texts, and makes none that the language model wrote another."""


class Asks:
    """What a configuration asks for, and by whom it is written.

    Args:
        config: The run.

    Raises:
        DataError: If a writer is unknown, before anything is changed.
    """

    def __init__(self, config: Config) -> None:
        self.config, settings = config, config.generate
        find_writers(settings.writers)
        self.job = Job(config.path("generate", settings.job), settings.part_size)
        self.catalogue = read_catalogue(config.path("catalogue"))
        self.behaviours = Behaviours(self.catalogue)
        self.by_model = settings.trains_lm and config.path("reason", "config.json").is_file()
        self._reasoner: Reasoner | None = None
        self.elsewhere = Spent()  # by workers of a cluster
        self.keeps_words = True

    @cached_property
    def made_by(self) -> dict[str, Any]:
        """What decides what is written, beside what a reason is asked for: a row that another decided is made again."""
        return _made_by(self.config, self.by_model)

    @property
    def made_of(self) -> str:
        """Digest of all that the requests and their keys follow from."""
        whole = [stage_identity(self.config, "generate"), self.made_by]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def requests(self) -> Iterator[Asked]:
        """The requests, with their keys."""
        config = self.config
        evidence = EvidenceStore.open(config.path("evidence"))
        store = EmbeddingStore.open(config.path("embed")) if self.by_model else None
        keys = Keys(self.catalogue.items, evidence, store, self.made_by)
        yield from keys.keyed(read_requests(config, self.catalogue, self.behaviours), self.behaviours)

    @cached_property
    def reasoner(self) -> Reasoner:
        """What writes."""
        self._reasoner = load_reasoner(self.config, self.catalogue, self.words)
        return self._reasoner

    def writer(self) -> Write:
        """The reasoner as a writer."""
        reasoner, batch_size = self.reasoner, self.config.generate.batch_size
        collect_rarely()

        def write(pairs: list[Any]) -> list[Reason | str]:
            found = reasoner.try_many(pairs, batch_size)
            return [each if isinstance(each, str) else each.reason for each in found]

        return write

    def spent(self) -> Spent:
        """What the language model was asked for so far; nothing where none takes part."""
        lm = self._reasoner.lm if self._reasoner else None
        if isinstance(lm, PlanWriter):
            read = lm.speaker.read if isinstance(lm.speaker, ServerSpeaker) else 0
            return Spent(lm.tokens, lm.asked, lm.said, read)
        return Spent(lm.tokens) if lm else Spent()

    @property
    def by_plan(self) -> bool:
        """Whether the language model reads plans, so that what it says is shared."""
        if self.config.generate.asks_server:
            return True
        folder = self.config.path("reason")
        return self.by_model and read_json(folder / "config.json")["config"]["inputs"] == "plan"

    @property
    def window(self) -> int:
        """Requests written together: more where they share words, for the few texts to fill a batch; 0 as usual."""
        return PLANS_WINDOW if self.by_plan else 0

    @cached_property
    def words(self) -> WordedPlans:
        """The table that the reasoner reads and adds to."""
        return self.worded()

    def worded(self) -> WordedPlans:
        """Plans that were put in words before, by what the run writes with now."""
        made_by = {name: value for name, value in self.made_by.items() if name not in _NOT_OF_WORDS}
        digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
        table, number = self.config.path("generate", NAME), share_of()[0]
        own = table.with_stem(f"{table.stem}-{number}") if number > 1 else None
        return WordedPlans(table, digest, self.keeps_words, own)

    def take_words_in(self) -> None:
        """Have one table of what all processes of a job put in words, of a killed one, too."""
        table = self.config.path("generate", NAME)
        self.words.take_in(sorted(table.parent.glob(f"{table.stem}-*{table.suffix}")))

    def cost(self) -> str:
        """What a server was asked for, by workers elsewhere too, in words; empty where none was."""
        here, elsewhere = self.spent(), self.elsewhere
        read, wrote = here.read + elsewhere.read, here.tokens + elsewhere.tokens
        asked = self.config.generate.asks_server and (read or wrote)
        return f"the server read {read:,} tokens and wrote {wrote:,}" if asked else ""

    def changes(self) -> list[str]:
        """What differs from what the rows that are there were made by, a line each."""
        before = read_progress(self.job.folder).get("settings", self.made_by)
        return changed_settings(before, json.loads(json.dumps(self.made_by)))


def _made_by(config: Config, by_model: bool) -> dict[str, Any]:
    """The settings and versions that decide what is written, with digests of the models and of files of words."""
    settings, sensitive = config.generate, config.path("evidence", SENSITIVE)
    added = fingerprint("added writers", config)
    made: dict[str, Any] = {
        "version": find_stage("generate").version,
        "generate.writers": settings.writers,
        "writers of other packages": ", ".join(f"{name} of {version}" for name, version in added.items()),
        "generate.candidates": settings.candidates,
        "generate.language": settings.language,
        "seed": config.seed,
        "wording files": wording_files(settings.packs)[:_DIGITS],
        "sensitive terms": file_digest(sensitive)[:_DIGITS] if sensitive.is_file() else "",
    }
    if by_model:
        made |= {
            "reason model": combined(fingerprint("reason model", config))[:_DIGITS],
            "language model": combined(fingerprint("language model", config))[:_DIGITS],
            "generate.backend.name": settings.backend.name,
            "generate.max_new_tokens": settings.max_new_tokens,
            "dtype": config.dtype,
        }
    if settings.asks_server:
        made |= {
            "generate.backend.name": settings.backend.name,
            "generate.backend.model": settings.backend.model,
            "instruction": hashlib.sha256(INSTRUCTION.encode()).hexdigest()[:_DIGITS],
            "generate.max_new_tokens": settings.max_new_tokens,
        }
    if config.verify.nli:
        made |= {
            "verify.nli": combined(fingerprint("inference model", config))[:_DIGITS],
            "verify.entailment": config.verify.entailment,
            "dtype": config.dtype,
        }
    return made


def wording_files(packs: Sequence[str]) -> str:
    """Digest of the grammars, of the verifier's words, of what is sensitive or unsafe, and of the compliance packs."""
    names = [
        ("mmreason", "safety"),
        ("mmreason.wording", "grammars"),
        ("mmreason.generate", "packs"),
        ("mmreason.generate", "verify"),
    ]
    folders = [files(package) / folder for package, folder in names]
    found = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".yaml")]
    texts = [file.read_bytes() for file in sorted(found, key=lambda file: file.name)]
    return hashlib.sha256(b"\0".join([*texts, *(Path(pack).read_bytes() for pack in packs)])).hexdigest()


def load_reasoner(config: Config, catalogue: Catalogue, worded: WordedPlans | None = None) -> Reasoner:
    """The reasoner over a run's catalogue, evidence and store.

    What a language model learned its wording from licenses that wording, where it was made from facts.

    Args:
        config: The run.
        catalogue: Its items.
        worded: Plans that were put in words before; None keeps them in memory only.
    """
    settings = config.generate
    reasoner = Reasoner.from_pretrained(
        config.path(),
        items=catalogue.items,
        device=config.device,
        dtype=config.dtype,
        max_new_tokens=settings.max_new_tokens,
        writers=settings.writers,
        packs=settings.packs,
        nli=config.verify.nli,
        entailment=config.verify.entailment,
        seed=config.seed,
        language=settings.language,
        candidates=settings.candidates,
        backend=settings.backend,
        worded=worded if settings.share else None,
        share=settings.share,
    )
    if reasoner.lm is not None and not settings.asks_server:
        learn_wording(
            reasoner.ladder.verifier,
            reason_samples(config.path("shards"), "train"),
            lambda sample: reasoner.cases([(sample.user, catalogue.items[sample.reason.item_id])])[0],
        )
    return reasoner
