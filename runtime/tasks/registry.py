"""From a name, a manifest's entry, or a model's outputs, to a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, TaskError
from ..records import decode, encode
from .base import Outputs, Task
from .classification import Classification
from .detection import Detection
from .raw import Raw
from .segmentation import Segmentation

TASKS: Mapping[str, type[Task]] = {task.name: task for task in (Classification, Segmentation, Detection, Raw)}
NAME, LAYOUT = "name", "layout"
SHORT_NAMES = {"metric": "metric_function"}  # as they are typed


def parse_task(text: str) -> Task:
    """A task as it is typed: NAME, NAME:LAYOUT, or either with parameters behind it: NAME,parameter=value.

    Args:
        text: such as "segmentation,threshold=0.3" or "detection:yolov8"; an array is a .npy file:
            "detection:ssd,anchors=anchors.npy".

    Raises:
        TaskError: there is no such task, or parameter, or the value or the file cannot be read.
    """
    head, *settings = text.split(",")
    name, _, layout = head.partition(":")
    kind = _kind(name)
    given: dict[str, Any] = {LAYOUT: layout} if layout else {}
    arrays: dict[str, NDArray[Any]] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals:
            raise TaskError(f"--task {text}: {setting!r} sets nothing.", wanted="parameter=value")
        key = SHORT_NAMES.get(key, key)
        if key in kind.array_names:
            arrays[key] = _array(Path(value))
        else:
            given[key] = _number(value)
    return _made(kind, given, arrays, f"--task {text}")


def task_entry(task: Task) -> dict[str, Any]:
    """A task as it stands in a manifest: its name and its parameters, without its arrays."""
    parameters = {key: value for key, value in encode(task).items() if key not in task.array_names}
    return {NAME: task.name, **parameters}


def task_of(entry: Mapping[str, Any] | None, arrays: Mapping[str, NDArray[Any]] | None = None) -> Task:
    """The task of a manifest; classification where it names none, as those of older schemas do.

    Raises:
        BundleError: there is no such task, or its parameters do not fit.
    """
    if entry is None:
        return Classification()
    given = dict(entry)
    name = given.pop(NAME, None)
    try:
        return _made(_kind(str(name)), given, arrays or {}, f"the task {name!r}")
    except TaskError as error:
        raise BundleError(f"The manifest's task cannot be used: {error}") from error


def infer_task(outputs: Outputs) -> Task:
    """The task that a model's answers suggest, where nobody says which.

    One output of shape (N, classes), (N, classes, 1, 1) or (N, positions, classes) is a classification. One
    of shape (N, classes, height, width) is a segmentation: of one channel, above 0.5 where all its values lie
    between 0 and 1, else above 0. A single output with boxes in pixels beside scores is a detection in a YOLO
    layout. Everything else is raw.

    Args:
        outputs: the model's answers to some inputs.
    """
    (first, *others) = outputs.values()
    if others:
        return Raw()
    if first.ndim == 4 and first.shape[2] * first.shape[3] > 1:
        if first.shape[1] > 1:
            return Segmentation()
        unit = bool(np.all((first >= 0) & (first <= 1)))
        return Segmentation(threshold=0.5 if unit else 0.0)
    if layout := _yolo_layout(first):
        return Detection(layout)
    shape = first.shape[:2] if first.shape[2:] == (1, 1) else first.shape
    return Classification() if len(shape) in (2, 3) and shape[-1] > 1 else Raw()


def _yolo_layout(values: NDArray[Any]) -> str:
    """The layout of an output with boxes in pixels beside scores from 0 to 1; empty for any other."""
    for name, axis, before in (("yolov8", 1, 4), ("yolov5", 2, 5)):
        if values.ndim != 3 or not before < values.shape[axis] <= values.shape[3 - axis]:
            continue
        each = np.moveaxis(values, axis, 0)
        boxes, scores = each[:4], each[before:]
        if scores.min() >= 0 and scores.max() <= 1 and boxes.max() > 2:
            return name
    return ""


def described(task: Task) -> str:
    """A task in words, as it could be typed: its name and the parameters that are not the default's."""
    entry = task_entry(task)
    defaults = _fields(type(task))
    typed = {name: short for short, name in SHORT_NAMES.items()}
    layout = f":{entry[LAYOUT]}" if LAYOUT in entry else ""
    rest = [
        f"{typed.get(key, key)}={value}"
        for key, value in entry.items()
        if key not in (NAME, LAYOUT) and value != defaults.get(key)
    ]
    return ",".join([task.name + layout, *rest])


def _kind(name: str) -> type[Task]:
    kind = TASKS.get(name.lower())
    if kind is None:
        raise TaskError(
            f"There is no task {name!r}.",
            available=", ".join(TASKS),
            todo="for example --task segmentation, or --task detection:yolov8",
        )
    return kind


def _made(kind: type[Task], given: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], what: str) -> Task:
    known = [name for name in _fields(kind) if name not in kind.array_names]
    wrong = sorted(set(given) - set(known))
    if wrong:
        raise TaskError(f"{what} has no parameter {wrong[0]!r}.", available=", ".join(known) or "none")
    held = {key: arrays[key] for key in kind.array_names if key in arrays}
    try:
        task = decode(kind, dict(given))
        return replace(task, **held) if held else task
    except ValueError as error:
        raise TaskError(f"{what} cannot be used: {error}", available=", ".join(known)) from error


def _fields(kind: type[Task]) -> dict[str, Any]:
    """Default of each parameter of a task, all of which are dataclasses."""
    return {field.name: field.default for field in fields(kind)}


def _array(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TaskError(f"{path} holds no array: {error}", wanted="a .npy file") from error


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
