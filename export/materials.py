"""The bill of materials of a bundle: its models, and every package that took part in making them.

The format is CycloneDX 1.6 as JSON (ECMA-424). It holds no time and no number of its own, so the same export
with the same packages writes the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from ..runtime.bundle.manifest import ModelEntry

BILL = "bom.cdx.json"
ROOTS = ("edgeproof", "onnxruntime", "onnxruntime-gpu")
EXTRA = "export"
REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")
EXTRA_OF = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
MAX_LICENCE = 80  # characters; a longer text is the licence itself


def bill_of_materials(name: str, models: Mapping[str, ModelEntry]) -> str:
    """The bill as JSON text.

    Args:
        name: of the bundle.
        models: each precision's file.
    """
    parts = [_model(precision, entry) for precision, entry in models.items()]
    libraries = [_library(found) for found in sorted(_distributions(), key=_name)]
    made_with = [each["bom-ref"] for each in libraries]
    whole = {"type": "machine-learning-model", "bom-ref": "bundle", "name": name}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": whole},
        "components": [*parts, *libraries],
        "dependencies": [
            {"ref": "bundle", "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"], "dependsOn": made_with} for part in parts),
        ],
    }
    return json.dumps(bill, indent=1) + "\n"


def licence_of(found: Distribution) -> str:
    """What a package says of its licence, in a few words; "unknown" where it says nothing."""
    metadata = found.metadata
    classified = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if "License ::" in line
    ]
    given = _said(found, "License").strip()
    short = given if given and "\n" not in given and len(given) <= MAX_LICENCE else ""
    return _said(found, "License-Expression") or short or ", ".join(classified) or "unknown"


def _model(precision: str, entry: ModelEntry) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": entry.file,
        "name": entry.file,
        "version": precision,
        "hashes": [{"alg": "SHA-256", "content": entry.sha256}],
    }


def _library(found: Distribution) -> dict[str, Any]:
    name, expression = _name(found), _said(found, "License-Expression")
    address = f"pkg:pypi/{name}@{found.version}"
    licence = {"expression": expression} if expression else {"license": {"name": licence_of(found)}}
    return {
        "type": "library",
        "bom-ref": address,
        "name": name,
        "version": found.version,
        "purl": address,
        "licenses": [licence],
    }


def _distributions() -> Iterator[Distribution]:
    """edgeproof with its extra `export`, ONNX Runtime, and all that these require and that is installed."""
    seen: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        try:
            found = distribution(name)
        except PackageNotFoundError:  # for another system, or of an extra that is not used
            continue
        if _name(found) in seen:
            continue
        seen.add(_name(found))
        yield found
        waiting += _required(found, EXTRA if _name(found) == "edgeproof" else "")


def _required(found: Distribution, extra: str) -> Iterator[str]:
    for line in found.requires or ():
        wanted = EXTRA_OF.search(line)
        name = REQUIREMENT.match(line)
        if name and (wanted is None or wanted[1] == extra):
            yield name[1]


def normalized(name: str) -> str:
    """A package's name as PyPI's own addresses have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _name(found: Distribution) -> str:
    return normalized(found.metadata["Name"])


def _said(found: Distribution, field: str) -> str:
    return (found.metadata.get_all(field) or [""])[0]
