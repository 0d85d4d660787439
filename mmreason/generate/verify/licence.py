"""Further words and sequences, taken from reasons that are known to be good: what a shop's own wording adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mmreason.generate.verify.lexicon import END, START, Lexicon, Tags, says
from mmreason.generate.verify.reading import Reading, pieces
from mmreason.generate.verify.tables import ItemTable, UserTable
from mmreason.generate.verify.words import stems_of

_OFTEN = 3  # references that must use a word, so that one of them licenses nothing by itself


@dataclass(slots=True)
class Licence:
    """What the references of one domain add to the lexicon.

    Attributes:
        words: Word → how many references use it for something that is no value.
        values: Words that are values of some item: they are never glue.
        sequences: Twos and threes of tags that may follow one another.
    """

    words: Counter[str] = field(default_factory=Counter)
    values: set[str] = field(default_factory=set)
    sequences: set[Tags] = field(default_factory=set)

    def allows(self, words: Sequence[str]) -> bool:
        """Whether references license an expression."""
        return all(self.words[word] >= _OFTEN and word not in self.values for word in words)

    def follows(self, before: Tags, here: Tags, behind: Tags) -> bool:
        """Whether references have these tags in a row; see :meth:`Lexicon.follows`."""
        pairs = [(a, b) for a in before for b in here if (a, b) in self.sequences]
        return any(says(pair[1]) or (*pair, c) in self.sequences for pair in pairs for c in behind or ("",))

    def learn(
        self,
        reading: Reading,
        item: ItemTable,
        user: UserTable,
        lexicon: Lexicon,
        values: Iterable[str] = (),
    ) -> None:
        """Take up one reference; ``values`` are those that it is known to name, whatever is known of its item."""
        self.values.update(word for value in values for word in (*value.lower().split(), *stems_of(value)))
        single = (
            entry.stems[0]
            for entry in (*item.entries.every(), *user.entries.every())
            if len(entry.stems) == 1
        )
        self.values.update(word for word in single if word not in lexicon.licensed)
        self.words.update({word for t in reading.tokens if not (t.is_claim or t.mark) for word in t.words})
        for piece in pieces(reading.tokens):
            tags = [(START,), *(token.tags for token in piece), (END,)]
            for place in range(len(tags) - 1):
                for a in tags[place]:
                    for b in tags[place + 1]:
                        self.sequences.add((a, b))
                        self.sequences.update(
                            (a, b, c) for c in (tags[place + 2] if place + 2 < len(tags) else ())
                        )
