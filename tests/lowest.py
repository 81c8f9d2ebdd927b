"""The lower bounds of pyproject.toml as constraints for pip: what `make oldest-test` installs.

    python tests/lowest.py [EXTRA...] > constraints.txt

For the package's own requirements and those of some extras. A version is written whole (2.13 as 2.13.0) and
with `===`, so that a build with a local name such as 2.13.0+cpu is not taken for it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tomllib

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
REQUIREMENT = re.compile(r"([\w-]+)(?:\[[\w,]+\])?>=(\d+(?:\.\d+)*)")


def main() -> None:
    """Print one line for each requirement."""
    print("\n".join(lowest(sys.argv[1:])))


def lowest(extras: list[str]) -> list[str]:
    """Constraints that pin each requirement to its lower bound; one without a bound is an error."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for name in extras for line in project["optional-dependencies"][name]),
    ]
    lines = []
    for requirement in wanted:
        found = REQUIREMENT.match(requirement)
        if not found:
            sys.exit(f"{requirement} in pyproject.toml has no lower bound")
        name, version = found.groups()
        lines.append(f"{name}==={'.'.join([*version.split('.'), '0', '0'][:3])}")
    return lines


if __name__ == "__main__":
    main()
