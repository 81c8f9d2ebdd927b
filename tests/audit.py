"""The packages of this project: known faults, whether each is the one that was locked, and its licence.

    python tests/audit.py

Asks for known vulnerabilities with pip-audit where its data can be had; elsewhere says so, and checks the
lock alone. Exit status 1: a known fault, a package that is not locked at its version, or a licence that does
not let edgeproof be given away under Apache-2.0.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

from edgeproof.export.materials import licence_of, normalized

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "constraints.txt"
OUR_OWN = ("edgeproof", "pip", "setuptools", "wheel")
# Strong copyleft, which would reach over to what is linked with it.
REFUSED = re.compile(r"(?<!L)(?<!Lesser )\b(AGPL|GPL)", re.IGNORECASE)
OF_TOOLS = {  # never imported by edgeproof: they check it
    "pyrefly", "import-linter", "mutmut", "pytest", "ruff",
}  # fmt: skip


def main() -> None:
    """Do the three checks, and print what they found."""
    found = sorted(distributions(), key=lambda each: name_of(each))
    packages = [each for each in found if name_of(each) not in OUR_OWN]
    problems = [*known_faults(), *not_locked(packages), *licences(packages)]
    print(f"{len(packages)} packages, {len(problems)} problems")
    for problem in problems:
        print(f"- {problem}")
    sys.exit(bool(problems))


def known_faults() -> list[str]:
    """What pip-audit knows of the locked versions; nothing where it cannot ask."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip"]
    # Strict: else a package of which it could learn nothing passes for one without a fault.
    command += ["--strict", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        print("pip-audit: no known vulnerability")
        return []
    listed = [line for line in done.stdout.splitlines() if re.match(r"\S+ +\S+ +(PYSEC|GHSA|CVE)", line)]
    if listed:
        return [f"known vulnerability: {' '.join(line.split())}" for line in listed]
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
    print(f"pip-audit could not ask for known vulnerabilities, the lock alone is checked: {reason}")
    return []


def not_locked(packages: list[Distribution]) -> list[str]:
    """Packages that the lock does not name, or names with another version."""
    pinned = dict(line.lower().split("==") for line in LOCK.read_text().splitlines() if "==" in line)
    locked = {normalized(name): version.strip() for name, version in pinned.items()}
    problems = []
    for each in packages:
        wanted = locked.get(name_of(each))
        if wanted is None:
            problems.append(f"{name_of(each)} {each.version} is not in {LOCK.name}")
        elif wanted != each.version.lower():
            problems.append(f"{name_of(each)} is {each.version}, and {LOCK.name} has {wanted}")
    return problems


def licences(packages: list[Distribution]) -> list[str]:
    """Licences that Apache-2.0 cannot be given away with; prints how often each kind is there."""
    kinds: dict[str, list[str]] = {}
    for each in packages:
        kinds.setdefault(licence_of(each), []).append(name_of(each))
    for kind, names in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
        print(f"{len(names):4} {kind}" + (f": {', '.join(names)}" if len(names) < 4 else ""))
    return [
        f"{name} has the licence {kind}"
        for kind, names in kinds.items()
        for name in names
        if REFUSED.search(kind) and name not in OF_TOOLS
    ]


def name_of(package: Distribution) -> str:
    """Its normalized name."""
    return normalized(package.metadata["Name"])


if __name__ == "__main__":
    main()
