"""Writers: each puts plans into words. The registry of those that a run may name in ``generate.writers``.

Most writers say one plan of one case: a function ``write(plan, case, seed)`` that returns candidates, the best first.
Another package adds such writers by entry points::

    [project.entry-points."mmreason.writers"]
    my-writer = "my_package.writer:write"

The language model (``lm``) chooses for itself what to say, and writes for many cases at once: see
:class:`mmreason.generate.writers.lm.LanguageModelWriter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Protocol

from mmreason.evidence.schema import Candidate, Case, Plan
from mmreason.plugins import added_writers
from mmreason.schema import DataError

LM = "lm"
"""The one writer that needs a trained model."""

WRITERS: dict[str, str] = {
    "template": "mmreason.wording.template:write",
    "extract": "mmreason.wording.extract:write",
}
"""Name → writer of single plans, ``module:function``, imported when it is asked for."""


class Writer(Protocol):
    """Puts one plan of one case into words."""

    def __call__(self, plan: Plan, case: Case, seed: int = 0) -> Iterable[Candidate]:
        """Candidates, the best first; none if the plan cannot be said well."""


def find_writers(names: Sequence[str]) -> dict[str, Writer]:
    """The writers of single plans among the named ones, in that order; the language model is none.

    Raises:
        DataError: If a name is unknown, or its package cannot be imported.

    Example:
        >>> list(find_writers(["lm", "template"]))
        ['template']
    """
    added = added_writers()
    found: dict[str, Writer] = {}
    for name in names:
        if name in WRITERS:
            module, function = WRITERS[name].split(":")
            found[name] = getattr(import_module(module), function)
        elif name in added:
            try:
                found[name] = added[name].load()
            except (ImportError, AttributeError) as error:
                raise DataError(
                    f"generate.writers {name!r}: {added[name].value} cannot be imported ({error})"
                ) from None
        elif name != LM:
            known = ", ".join([LM, *WRITERS, *sorted(added)])
            raise DataError(f"generate.writers: there is no writer {name!r}; there are {known}")
    return found
