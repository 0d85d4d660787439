"""Is a text true of its item and its person, to the last word?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

from mmreason.evidence.schema import Case
from mmreason.generate.verify.building import lexicon
from mmreason.generate.verify.checks import CHECKS, Checked, Fault
from mmreason.generate.verify.claims import claims_of
from mmreason.generate.verify.licence import Licence
from mmreason.generate.verify.reading import Token, read
from mmreason.generate.verify.tables import ItemTable, UserTable, user_table
from mmreason.generate.verify.verdict import Verdict
from mmreason.schema import Evidence

_ITEMS, _USERS = 4_096, 512  # tables that are kept; the requests of a user mostly come together
T = TypeVar("T")


class Verifier:
    """Checks whole texts: what they say of the item, of the person, and that nothing else is said.

    Example:
        >>> from mmreason.evidence.schema import Fact
        >>> from mmreason.schema import Item, Interaction, User
        >>> user = User("u", [Interaction(item_id=i, event="purchase") for i in ("a", "b")])
        >>> held = {i: [Fact(i, "material", "wool")] for i in ("a", "b")}
        >>> case = Case(user, Item("hat", domain="shop"), [Fact("hat", "material", "wool")], history_facts=held)
        >>> verdict = Verifier().check("You keep choosing wool, and this piece is made of wool too.", case)
        >>> verdict.passed, verdict.level
        (True, 'personal')
        >>> verdict = Verifier().check("This piece is made of wool and is waterproof.", case)
        >>> verdict.kind, verdict.why
        ('left-over words', "nothing is known that 'waterproof' would say")
    """

    def __init__(self) -> None:
        self._items: OrderedDict[Hashable, tuple[Any, ItemTable]] = OrderedDict()
        self._users: OrderedDict[Hashable, tuple[Any, UserTable]] = OrderedDict()
        self._licences: dict[str, Licence] = {}

    def check(self, text: str, case: Case) -> Verdict:
        """Whether a text may be shown.

        Args:
            text: A reason, by whatever writer.
            case: The item and the person it speaks of.
        """
        looked_at = self._read(text, case)
        fault = _fault(looked_at)
        if fault and looked_at.item.with_clauses is not looked_at.item.entries:
            looked_at = self._read(text, case, in_clauses=True)
            fault = _fault(looked_at)
        evidence = [_evidence(token, looked_at) for token in looked_at.tokens if token.is_claim]
        if fault:
            return Verdict(False, "", evidence, *fault)
        loose = any(claim.loose for claim in looked_at.claims)
        return Verdict(True, "personal" if looked_at.claims else "selling point", evidence, loose=loose)

    def learn(self, text: str, case: Case, values: Iterable[str] = ()) -> None:
        """Let a reason that is known to be good license its wording for the items of its domain.

        Words that at least three such reasons use for something that is no value of any item become glue, and so do the
        sequences. Give it reasons that were made from facts; of one that people wrote freely, claims would become glue.

        Args:
            text: The reason.
            case: Its item and person.
            values: What it is known to name: none of their words becomes glue, though no fact of the item may hold
                them, as of what only the picture shows.
        """
        read_so = self._read(text, case, in_clauses=True)
        licence = self._licences.setdefault(case.item.domain, read_so.licence)
        licence.learn(read_so.reading, read_so.item, read_so.user, read_so.lexicon, values)

    def _read(self, text: str, case: Case, in_clauses: bool = False) -> Checked:
        known = lexicon(case.language)
        item = self._kept(
            self._items,
            _ITEMS,
            (case.item.id, case.language),
            (case.item, case.facts),
            lambda: ItemTable(case, known),
        )
        user = self._kept(
            self._users,
            _USERS,
            (case.user.id, case.language, case.item.domain),
            (case.user.history, case.history_facts, case.tastes),
            lambda: user_table(case, known),
        )
        reading = read(text, item, user, known, in_clauses)
        licence = self._licences.get(case.item.domain) or Licence()
        claims = claims_of(reading, item, user)
        return Checked(reading, item, user, known, case.item.domain, claims, len(user.done), licence)

    @staticmethod
    def _kept(
        tables: OrderedDict[Hashable, tuple[Any, T]],
        most: int,
        key: Hashable,
        source: Any,
        make: Callable[[], T],
    ) -> T:
        """The table made of the same source before, or a new one."""
        found = tables.get(key)
        if found is not None and found[0] == source:
            tables.move_to_end(key)
            return found[1]
        table = make()
        tables[key] = source, table
        if len(tables) > most:
            tables.popitem(last=False)
        return table


def _fault(text: Checked) -> Fault | None:
    """The first fault of a text; None if it has none."""
    return next((fault for check in CHECKS if (fault := check(text)) is not None), None)


def _evidence(token: Token, text: Checked) -> Evidence:
    """What a claim rests on."""
    mine = token.of_user if token.subject == "user" else token.of_item
    ids = dict.fromkeys(i for entry in mine for i in text.user.holders.get(entry.concept, ()))
    entry = next(iter(mine), None)
    words = text.words(token)
    link = next((claim.link for claim in text.claims if claim.link and claim.span == token.span), None)
    if link is not None:
        return Evidence(link.name, words, link.source, [link.value], token.span)
    if entry is not None and entry.name:
        return Evidence(entry.name, entry.value, entry.source, list(ids), token.span)
    if entry is not None:
        return Evidence("title", words, "title", list(ids), token.span)
    return Evidence("text", words, "text" if token.said else "none", [], token.span)
