"""Print a pip constraints file with the oldest version of each dependency that ``pyproject.toml`` allows.

    python .ci/oldest_versions.py > constraints.txt

A bound ``>=1.20`` becomes ``==1.20.*``: the last correction of that release; ``>=1.20.3`` becomes ``==1.20.3``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

EXTRAS = ("dev", "mine", "openai", "ray")


def oldest(requirement: str) -> str | None:
    """The constraint of one requirement; None if it has no lower bound.

    Example:
        >>> oldest("duckdb>=2,<3"), oldest("pillow>=11.1"), oldest("peft>=0.17.1,<1"), oldest("types-tqdm")
        ('duckdb==2.0.*', 'pillow==11.1.*', 'peft==0.17.1', None)
    """
    parsed = Requirement(requirement)
    for bound in parsed.specifier:
        if bound.operator == ">=":
            numbers = bound.version.split(".")
            major, minor, *patch = numbers if len(numbers) > 1 else [*numbers, "0"]
            version = bound.version if patch else f"{major}.{minor}.*"
            return f"{parsed.name}=={version}" + (f" ; {parsed.marker}" if parsed.marker else "")
    return None


def main() -> None:
    """Print the constraints."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    wanted = [*project["dependencies"], *(r for e in EXTRAS for r in project["optional-dependencies"][e])]
    print("\n".join(sorted({line for requirement in wanted if (line := oldest(requirement))})))


if __name__ == "__main__":
    main()
