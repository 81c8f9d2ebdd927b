"""The file of a sweep, and the combinations that it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import tomllib

from ...calibration.targets.registry import find_target
from ...runtime.bundle.manifest import PRECISIONS
from ...runtime.errors import InputError
from ...runtime.files import sha256_bytes
from ...runtime.records import decode

EXAMPLE = """model = ["lenet", "mobilenet_v3_small"]
data = "digits"
precisions = ["fp32,fp16,int8"]
target = ["tensorrt", "cpu"]
seed = [0, 1]"""
MAX_CELLS = 10_000


@dataclass(frozen=True)
class Cell:
    """One combination.

    Attributes:
        model: as `export` takes it.
        precisions: that are exported, behind fp32.
        target: what INT8 is made for.
        seed: of the training of demo weights; None where the weights come from elsewhere.
        data: name of a data set; None for the model's own.
        weights: as `export` takes them; None for demo weights.
        evaluation: at most this many samples are measured.
        max_drop: points of the metric that INT8 may cost.
    """

    model: str
    precisions: tuple[str, ...]
    target: str
    seed: int | None
    data: str | None
    weights: str | None
    evaluation: int
    max_drop: float

    @property
    def name(self) -> str:
        """Of its folder: readable, and another for each combination."""
        words = (Path(self.model.rpartition(":")[2]).stem, *self.precisions[1:], self.target)
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return f"{'-'.join(words)}{seed}-{sha256_bytes(repr(self).encode())[:8]}"


@dataclass(frozen=True)
class Plan:
    """The file as it is written: lists of which every combination is a cell, and what all have in common.

    Attributes:
        model: as `export` takes them.
        precisions: each a list with commas; fp32 is always among them.
        target: what INT8 is made for.
        seed: of the training of demo weights.
        data, weights, evaluation, max_drop: as of `export`, the same for all.
    """

    model: tuple[str, ...]
    precisions: tuple[str, ...] = (",".join(PRECISIONS),)
    target: tuple[str, ...] = ("tensorrt",)
    seed: tuple[int, ...] = ()
    data: str | None = None
    weights: str | None = None
    evaluation: int = 2000
    max_drop: float = 1.0

    def cells(self) -> list[Cell]:
        """Every combination, in the order of the lists."""
        chosen = [tuple(dict.fromkeys(("fp32", *_words(text)))) for text in self.precisions]
        seeds: tuple[int | None, ...] = self.seed or (None,)
        rest = (self.data, self.weights, self.evaluation, self.max_drop)
        found = [Cell(*each, *rest) for each in product(self.model, chosen, self.target, seeds)]
        return list(dict.fromkeys(found))


def read_plan(path: Path) -> Plan:
    """Read the file, and refuse what no cell could do.

    Raises:
        InputError: it is absent, no TOML, or holds what is not known.
    """
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(value) - set(Plan.__dataclass_fields__))
        if unknown:
            raise ValueError(f"{unknown[0]} is not known")
        plan = decode(Plan, value)
        _check(plan)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no plan of a sweep: {error}", wanted=EXAMPLE) from error
    return plan


def _check(plan: Plan) -> None:
    for target in plan.target:
        find_target(target)
    unknown = [word for text in plan.precisions for word in _words(text) if word not in PRECISIONS]
    if unknown:
        raise ValueError(f"there is no precision {unknown[0]}")
    if plan.seed and plan.weights not in (None, "demo"):
        raise ValueError("seeds are of the training of demo weights, and weights are given")
    if plan.evaluation < 2 or plan.max_drop < 0:
        raise ValueError("evaluation must be 2 or more, and max_drop 0 or more")
    count = len(plan.cells())
    if not 0 < count <= MAX_CELLS:
        raise ValueError(f"it stands for {count} combinations, not 1 to {MAX_CELLS}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]
