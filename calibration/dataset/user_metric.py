"""A metric of the user's own for raw outputs: `--task raw,metric=file.py:function`.

The function takes the reference's outputs and the candidate's for one sample, each a dict of arrays by name,
and gives how good the candidate is, from 0 to 1. Its file is imported, hence run, here and never on a device.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.errors import TaskError
from ...runtime.tasks.base import Measure, Task
from ...runtime.tasks.raw import Raw

Function = Callable[[dict[str, Any], dict[str, Any]], float]


class UserMetric(Measure):
    """The mean of a user's function over the samples.

    Args:
        name: of the function.
        function: judges one sample.
    """

    def __init__(self, name: str, function: Function) -> None:
        self.name = name
        self._function = function

    def count(self, wanted: dict[str, Any], answer: dict[str, Any]) -> float:
        """What the function gives for one sample.

        Raises:
            TaskError: it fails, or gives no number from 0 to 1.
        """
        try:
            found = float(self._function(wanted, answer))
        except Exception as error:  # the user's code may raise anything
            raise TaskError(f"The metric {self.name} failed: {type(error).__name__}: {error}") from error
        if not 0 <= found <= 1:
            raise TaskError(f"The metric {self.name} is no share.", wanted="0 to 1", got=str(found))
        return found

    def value(self, counts: Sequence[float]) -> float | None:
        """In percent."""
        return 100 * float(np.mean(counts)) if len(counts) else None


def agreement_of(task: Task) -> Measure:
    """How a model is held against a reference without labels: by the user's own metric where there is one.

    Raises:
        TaskError: its file or its function cannot be found or imported.
    """
    if not isinstance(task, Raw) or not task.metric_function:
        return task.agreement
    place, _, name = task.metric_function.rpartition(":")
    path = Path(place).expanduser()
    found = importlib.util.spec_from_file_location(f"edgeproof_metric_{path.stem}", path)
    if not path.is_file() or found is None or found.loader is None:
        raise TaskError(
            f"There is no metric {task.metric_function!r}.",
            wanted="a Python file and a function in it",
            todo="--task raw,metric=file.py:function",
        )
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        raise TaskError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        own = sorted(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        raise TaskError(f"{path} has no function {name!r}.", available=", ".join(own))
    return UserMetric(name, function)
