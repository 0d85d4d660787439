"""What is asked of the decoding engine and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

Finish = Literal["end", "stop", "length", "filtered", "error"]


@dataclass(frozen=True)
class Sampling:
    """How each next token is taken.

    Attributes:
        temperature: 0 takes the likeliest token; else tokens are drawn from the logits divided by it.
        top_p: Draw among the fewest tokens whose probabilities add up to this, after the temperature
            (arXiv 1904.09751).
        seed: Of the draws. The draw of a token depends on (seed, candidate, place in the text) alone, so a request's
            neighbours never change it.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature}: must be 0 (greedy) or above")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}: must be above 0 and at most 1")


def sampling_of(candidates: int, seed: int) -> Sampling:
    """How the texts of a reason are taken: one is the likeliest, several are drawn.

    Args:
        candidates: How many.
        seed: Of the draws.
    """
    return Sampling(temperature=0.8, top_p=0.95, seed=seed) if candidates > 1 else Sampling()


@dataclass(frozen=True)
class DecodeRequest:
    """One prompt and what its text must be like.

    The engine decodes from the prompt as it stands and adds no token of its own: a beginning-of-sequence token
    that the LM wants belongs into the prompt.

    Attributes:
        prompt: Token ids, (L,) integers or a sequence of them; or input embeddings, (L, hidden_size), on the scale of
            what the LM's embedding layer *returns* (Gemma's multiplies its weights). Words for a server, which reads
            nothing else (:class:`mmreason.decoding.server.Server`).
        sampling: How tokens are taken.
        candidates: Texts to write; they share one pass over the prompt. More than one needs a temperature.
        min_new_tokens: End tokens are held back until the text has as many tokens.
        max_new_tokens: The text ends here at the latest.
        stop: The text ends before the first of these strings.
        include: Words or phrases that the text must hold, whatever their case. One is written as soon as the LM
            finds its first token nearly as likely as the best, and at the latest before the text may end. Guaranteed
            whenever ``finish`` is not ``error``.
        banned: Words or phrases that the text must not hold, whatever their case and however they are cut into tokens.
            They match whole words only (``ass`` is not in ``class``), except beside scripts that are written
            without spaces. Guaranteed whenever ``finish`` is not ``error``.
    """

    prompt: Tensor | Sequence[int] | str
    sampling: Sampling = field(default_factory=Sampling)
    candidates: int = 1
    min_new_tokens: int = 0
    max_new_tokens: int = 48
    stop: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError(f"candidates={self.candidates}: must be at least 1")
        if self.candidates > 1 and not self.sampling.temperature:
            raise ValueError(
                f"candidates={self.candidates} at temperature 0 would all be alike; set a temperature"
            )
        if not 0 <= self.min_new_tokens <= self.max_new_tokens or self.max_new_tokens < 1:
            raise ValueError(
                f"min_new_tokens={self.min_new_tokens}, max_new_tokens={self.max_new_tokens}: "
                "must be 0 ≤ min ≤ max and max ≥ 1"
            )
        if not all((*self.stop, *self.include, *self.banned)):
            raise ValueError("stop, include and banned: an empty string is in every text")

    @property
    def tokens(self) -> Tensor | Sequence[int]:
        """A prompt that is not words."""
        assert not isinstance(self.prompt, str), "the prompt is words"
        return self.prompt


@dataclass(frozen=True)
class Decoded:
    """One text of a request.

    Attributes:
        request: Number of the request in the stream, from 0.
        candidate: Number of the candidate, from 0.
        ids: Token ids, without the end token.
        text: Of the ids, without special tokens, cut before a stop string.
        log_prob: Mean log-probability of the tokens, the end token included, under the LM itself: no temperature, no
            token held back. 0 without tokens; None where a server does not tell.
        finish: ``end`` (an end token), ``stop`` (a stop string), ``length``, ``filtered`` (a server's filter held the
            text back, which is empty) or ``error``.
        error: What went wrong, one line; empty unless ``finish`` is ``error``.
    """

    request: int
    candidate: int
    ids: list[int]
    text: str
    log_prob: float | None
    finish: Finish
    error: str = ""
