"""The settings of the stages that find evidence, and write, check and measure reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmreason.schema import DataError


@dataclass
class EvidenceConfig:
    """What is found out of items and people.

    Args:
        sensitive: YAML file of further terms that nobody may infer of a person, kind → terms.
        synonyms: Let phrases that the text encoder holds for the same in other words share a concept.
    """

    sensitive: str = ""
    synonyms: bool = True


@dataclass
class BackendConfig:
    """What decodes for the writer ``lm``; all but ``name`` is of ``openai``.

    Args:
        name: ``hf``, the decoding engine over the trained model; ``vllm``, the same model (``mmreason[vllm]``); or
            ``openai``, a server that speaks OpenAI's chat completions, which words plans (``mmreason[openai]``).
        url: The server's address up to ``/v1``.
        model: Its name there.
        key_env: Environment variable that holds the key; empty where the server asks for none.
        concurrency: Requests that wait for the server at a time.
        requests_per_minute: At most so many are sent, those that are tried again with them; 0 for no limit.
        timeout: Seconds after which an answer is no longer waited for.
    """

    name: Literal["hf", "vllm", "openai"] = "hf"
    url: str = ""
    model: str = ""
    key_env: str = ""
    concurrency: int = 16
    requests_per_minute: int = 0
    timeout: float = 60.0


@dataclass
class GenerateConfig:
    """Bulk generation.

    Args:
        name: Of the job, which has a folder of its own, ``generate/<name>``; empty takes the name of the requests file
            without its ending, ``top-<k>`` or ``test``.
        requests: Table of (user_id, item_id), in any format that a catalogue may have; empty takes the test split.
        batch_size: Rows decoded together; 0 takes 128, on a GPU 512.
        part_size: Rows per output part; 0 goes by the number of requests (256 to 16,384). A killed run loses
            512 rows, or one part where that is larger.
        max_new_tokens: Longest text of the language model, in tokens.
        limit: Stop after this many requests; 0 for all.
        top_k: Write for so many items of every user, of the nearest to what they liked those that answer their tastes
            best; 0 takes the test split, and where there is none, five.
        writers: Who puts plans into words, the first is preferred: ``lm`` (where one was trained), ``template``,
            ``extract``, or those of installed packages.
        candidates: Texts of each writer that are verified, of which the one with the most support is taken, and of
            those with as much the likeliest to its model; of 1 the first that passes.
        backend: What decodes for ``lm``.
        share: Put plans that read the same in words once, where the model reads plans; off to measure what it saves.
        language: Of the reasons; empty takes that of the item's text.
        packs: Compliance packs of your own (YAML files), beside those of language and domain.
        max_failures: Share of the requests that may fail; past it, from 100 requests on, the job stops.
        max_seconds: Stop, with what is written kept, after so many seconds; 0 for never.

    Raises:
        DataError: If a number is out of its range.
    """

    name: str = ""
    requests: str = ""
    batch_size: int = 0
    part_size: int = 0
    max_new_tokens: int = 48
    limit: int = 0
    top_k: int = 0
    writers: list[str] = field(default_factory=lambda: ["lm", "template", "extract"])
    candidates: int = 1
    backend: BackendConfig = field(default_factory=BackendConfig)
    share: bool = True
    language: str = ""
    packs: list[str] = field(default_factory=list)
    max_failures: float = 0.1
    max_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "candidates"):
            if getattr(self, name) < 1:
                raise DataError(f"generate.{name} is {getattr(self, name)}; give 1 or more")
        for name in ("batch_size", "part_size", "limit", "top_k", "max_seconds"):
            if getattr(self, name) < 0:
                raise DataError(f"generate.{name} is {getattr(self, name)}; give 0 or more")
        if not 0 <= self.max_failures <= 1:
            raise DataError(f"generate.max_failures is {self.max_failures}; give a share from 0 to 1")

    @property
    def trains_lm(self) -> bool:
        """Whether a language model of the run is among the writers, so that one is trained where there are reasons."""
        return "lm" in self.writers and self.backend.name != "openai"

    @property
    def asks_server(self) -> bool:
        """Whether a server's language model is among the writers."""
        return "lm" in self.writers and self.backend.name == "openai"

    @property
    def job(self) -> str:
        """The name of the job.

        Raises:
            DataError: If it is no name of a folder.
        """
        asked = f"top-{self.top_k}" if self.top_k else "test"
        name = self.name or (Path(self.requests).stem if self.requests else asked)
        if Path(name).name != name or name.startswith("."):
            raise DataError(f"generate.name {name!r} is no name of a folder; use letters, digits, - and _")
        return name


@dataclass
class VerifyConfig:
    """What is asked of reasons beside the verifier's rules and the compliance packs.

    Args:
        nli: A model of natural language inference (a sequence classifier of transformers), ``hf://…`` or a local folder
            with safetensors: what the evidence does not entail is stopped. Empty for none.
        entailment: Smallest probability of entailment with which a reason passes.
    """

    nli: str = ""
    entailment: float = 0.5


@dataclass
class EvaluateConfig:
    """Metrics and the report.

    Args:
        job: Name of the generate job that is measured; empty takes that of ``generate``.
        sample: Rows shown in the report.
        rows: Rows of the swap tests and the text-only floor; 0 for all.
        baseline: Train and measure the text-only LM beside the model.
        baseline_steps: Its LoRA steps; 0 for as many as the model has.
    """

    job: str = ""
    sample: int = 24
    rows: int = 96
    baseline: bool = True
    baseline_steps: int = 0
