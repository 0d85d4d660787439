"""One text while it is being decoded."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from mmreason.decoding.requests import Decoded, DecodeRequest, Finish
from mmreason.decoding.watch import Watch

MAX_REWINDS = 32  # a text that meets banned words more often has no way around them
REACH = (
    2.3  # logits: a word to include is begun when its first token is at least a tenth as likely as the best
)


@dataclass
class Row:
    """A candidate of a request.

    Attributes:
        request: What was asked.
        number: Of the request in the stream.
        candidate: Of this text among the request's.
        prompt_length: Tokens of the prompt.
        watch: Looks for stop strings and for words that must or must not come.
        end_ids: Tokens that end a text.
        ids: What is written so far.
        scores: The log-probability of each token, and of the end token.
        held: Tokens that may not come, by their place in the text: each led to a banned word.
        forced: Tokens that come next: the rest of a word to include.
        rewinds: How often the text was taken back.
    """

    request: DecodeRequest
    number: int
    candidate: int
    prompt_length: int
    watch: Watch
    end_ids: frozenset[int]
    ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    held: dict[int, set[int]] = field(default_factory=dict)
    forced: list[int] = field(default_factory=list)
    rewinds: int = 0

    @property
    def position(self) -> int:
        """Of the token that the LM reads next: the last one there is."""
        return self.prompt_length + len(self.ids) - 1

    @property
    def barred(self) -> set[int]:
        """Tokens that may not come next."""
        held = self.held.get(len(self.ids), set())
        return held | self.end_ids if len(self.ids) < self.request.min_new_tokens else held

    def pick(self, best: int, scores: Tensor) -> int:
        """The next token, which may be forced so that the words to include come in time.

        Args:
            best: The token taken by the LM's word alone.
            scores: (vocabulary,) logits; -inf where a token is barred.
        """
        if self.forced:
            return self.forced.pop(0)
        spelled = [self.watch.spelled[word] for word in self.watch.missing(self.watch.text(self.ids))]
        if not spelled:
            return best
        likeliest = max(spelled, key=lambda ids: float(scores[ids[0]]))
        left = self.request.max_new_tokens - len(self.ids)
        due = best in self.end_ids or left <= sum(map(len, spelled))
        if due or float(scores[likeliest[0]]) >= float(scores[best]) - REACH:
            self.forced = likeliest[1:]
            return likeliest[0]
        return best

    def take(self, token: int, log_prob: float) -> Decoded | None:
        """Add a token.

        Returns:
            The text if it is done. If not, it has grown by the token, or was taken back to before a banned word.
        """
        self.scores.append(log_prob)
        finish: Finish | None = None
        if token in self.end_ids:
            finish = "end"
        else:
            self.ids.append(token)
            finish = "length" if len(self.ids) == self.request.max_new_tokens else None
        if self.watch.idle:
            return self._done(finish, self.watch.text(self.ids)) if finish else None
        return self._look(finish)

    def fail(self, error: str) -> Decoded:
        """The text so far, ended by an error."""
        return Decoded(
            self.number, self.candidate, self.ids, self.watch.text(self.ids), self._mean(), "error", error
        )

    def _look(self, finish: Finish | None) -> Decoded | None:
        text = self.watch.text(self.ids)
        stop = self.watch.stopped(text)
        if stop is not None:
            finish, text = "stop", text[:stop]
        breach = self.watch.breach(text, ended=finish is not None)
        if breach is not None:
            return self._rewind(breach, text)
        missing = self.watch.missing(text) if finish else []
        if missing and stop is not None:  # not yet: the word comes where the stop string began
            return self._rewind(stop, text, self.watch.spelled[missing[0]])
        if missing:
            return self.fail(f"include: no place was left for {missing[0]!r}")
        return self._done(finish, text) if finish else None

    def _rewind(self, place: int, text: str, instead: list[int] | None = None) -> Decoded | None:
        """Back to before the token that wrote the character at ``place``, which comes not again."""
        self.rewinds += 1
        if self.rewinds > MAX_REWINDS:
            return self.fail(f"banned or stop strings: no way around them found in {MAX_REWINDS} tries")
        index = next(
            (i for i in range(len(self.ids)) if len(self.watch.text(self.ids[: i + 1])) > place),
            len(self.ids) - 1,
        )
        self.held = {at: tokens for at, tokens in self.held.items() if at <= index}
        self.forced = list(instead or [])
        if not instead:
            self.held.setdefault(index, set()).add(self.ids[index])
        del self.ids[index:], self.scores[index:]
        return None

    def _done(self, finish: Finish, text: str) -> Decoded:
        return Decoded(self.number, self.candidate, self.ids, text, self._mean(), finish)

    def _mean(self) -> float:
        return sum(self.scores) / len(self.scores) if self.scores else 0.0
