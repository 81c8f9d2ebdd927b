"""`edgeproof train`: from a request to trained weights, over a checkpoint after every epoch."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...calibration.progress import Progress
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import DataError, ModelError, gist
from ..data.dataset import Dataset, Split, seeded_subset
from ..models.recipe import Recipe
from ..models.spec import Form, Shape
from ..sources.resolve import check_preprocess, fit
from .checkpoint import Checkpoint, Record, save_checkpoint
from .fingerprint import describe, describe_data, describe_network
from .folder import CHECKPOINT, close_folder, look, open_folder, write_weights
from .history import Epoch, History, Result
from .samples import Samples, prepare
from .trainer import Course, judge

JUDGES = 2000  # at most so many held-out samples judge after each epoch; all of them judge the result


@dataclass(frozen=True)
class TrainRequest:
    """What `edgeproof train` is asked for.

    Attributes:
        model: registry name, torchvision name, `package.module:factory` or `file.py:factory`.
        data: name of a data set, or `imagefolder:DIR`; None for the architecture's own.
        form: "standard" or "small"; None for the one that suits the data.
        options: hyper-parameters of the architecture, as typed.
        input_shape: (channels, height, width) instead of the form's own; None for that.
        samples: train on at most so many, chosen by seed; None for all.
        recipe: fields of the architecture's recipe, to be changed.
        out: folder of the results; None for artifacts/training/MODEL-DATA.
        fresh: start anew, whatever an earlier training left at `out`.
    """

    model: str
    data: str | None = None
    form: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    input_shape: Shape | None = None
    samples: int | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Training:
    """A finished training: the folder that holds its files, and its history."""

    folder: Path
    history: History

    def summary(self) -> str:
        """What came of it, in two lines."""
        settings, result = self.history.settings, self.history.result
        epochs = len(self.history.epochs)
        return (
            f"{settings['model']['name']} on {settings['data']['name']}: {result.top1:.2f} % top-1 "
            f"on {result.held_out} held-out samples\n"
            f"{epochs} epoch{'' if epochs == 1 else 's'} of {settings['data']['samples']} samples "
            f"in {result.seconds:.1f} s, {result.made_with}"
        )


@dataclass(frozen=True)
class Task:
    """A request whose parts are found and fit together; the network is built, seeded."""

    name: str
    network: nn.Module
    data: Dataset
    train: Split
    preprocess: Preprocess | None
    recipe: Recipe
    settings: Mapping[str, Any]


def train_model(request: TrainRequest, progress: Progress) -> Training:
    """Train, or go on from the checkpoint that an earlier run left; a finished training is not repeated.

    Raises:
        InputError: the request cannot be carried out, or `out` holds something else.
    """
    task = _find(request)
    folder = request.out or Path("artifacts") / "training" / _folder_name(request.model, task.data.name)
    standing = look(folder, task.settings, fresh=request.fresh)
    if standing.finished:
        progress.note(f"{folder} holds this training already (--fresh repeats it)")
        return Training(folder, standing.finished)
    _check_answer(task)
    if standing.checkpoint is None:
        open_folder(folder)
    with progress.stage("samples"):
        samples = prepare(task.train, task.preprocess, progress)
        judges = prepare(_at_most(task.data.evaluation, JUDGES), task.preprocess, progress)
    course = Course(task.network, samples, task.recipe)
    with progress.stage("training"):
        record = _resumed(course, standing.checkpoint, progress) or Record(task.settings, ())
        epochs = _teach(course, judges, record, folder / CHECKPOINT, task.recipe.epochs, progress)
    with progress.stage("result"):
        return _finish(course, task, epochs, folder, progress)


def _find(request: TrainRequest) -> Task:
    found = fit(request.model, request.data, request.form, request.options, request.input_shape)
    form, data = found.form, found.data
    preprocess = data.preprocess(form.input_shape)
    check_preprocess(form, preprocess)
    if data.train is None:
        raise DataError(
            f"The data set {data.name} has no part to train on.",
            wanted="`train` and `val` folders of class folders",
            todo="split it so, or give another with --data",
        )
    train = _at_most(data.train, request.samples or len(data.train))
    recipe = replace(found.spec.recipe, **request.recipe)
    network = _build(form, len(data.labels), recipe.seed)
    settings = describe(
        describe_network(found.spec.name, form, found.options, network),
        describe_data(data.name, train, data.evaluation),
        preprocess,
        recipe,
    )
    return Task(found.spec.name, network, data, train, preprocess, recipe, settings)


def _build(form: Form, classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return form.build(classes)


def _check_answer(task: Task) -> None:
    """Refuse a network that cannot take the samples, or that gives no score for each class."""
    inputs = torch.from_numpy(task.train.take([0]).tensor(task.preprocess))
    task.network.eval()
    try:
        with torch.inference_mode():
            scores = task.network(inputs)
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"{task.name} cannot take the samples of {task.data.name}.",
            wanted="a network that takes " + "x".join(map(str, ("N", *inputs.shape[1:]))),
            got=gist(error),
            todo="give the network's own input with --input CxHxW, or other data with --data",
        ) from error
    shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    if shape != (1, len(task.data.labels)):
        raise ModelError(
            f"The output of {task.name} does not fit the data set {task.data.name}.",
            wanted=f"shape (1, {len(task.data.labels)}) for one sample: one score a class",
            got=f"shape {shape}" if isinstance(scores, Tensor) else f"a {shape}",
            todo="let the factory take `num_classes`, or give other data with --data",
        )


def _resumed(course: Course, checkpoint: Checkpoint | None, progress: Progress) -> Record | None:
    if checkpoint is None:
        return None
    checkpoint.resume(course)
    progress.note(f"going on after epoch {course.epoch}, from {checkpoint.path}")
    return checkpoint.record


def _teach(
    course: Course, judges: Samples, record: Record, path: Path, epochs: int, progress: Progress
) -> tuple[Epoch, ...]:
    """Train to the last epoch and leave a checkpoint after each."""
    try:
        while course.epoch < epochs:
            last = _epoch(course, judges, progress)
            record = replace(record, epochs=(*record.epochs, last))
            save_checkpoint(path, record, course)
            progress.note(
                f"epoch {last.epoch} of {epochs}: loss {last.loss:.3f}, held out {last.held_out_loss:.3f}, "
                f"top-1 {last.top1:.2f} % of {last.held_out}"
            )
    except (KeyboardInterrupt, SystemExit):
        if record.epochs:
            progress.note(f"{path} is kept: the same command, without --fresh, goes on from there")
        raise
    return record.epochs


def _epoch(course: Course, judges: Samples, progress: Progress) -> Epoch:
    start = time.perf_counter()
    lesson = course.advance(progress)
    course.settle()  # else the curve would begin with what stale batch norms give
    judgement = judge(course.network, judges)
    seconds = time.perf_counter() - start
    return Epoch(course.epoch, lesson.loss, judgement.loss, judgement.top1, len(judges), lesson.rate, seconds)


def _finish(
    course: Course, task: Task, epochs: tuple[Epoch, ...], folder: Path, progress: Progress
) -> Training:
    course.network.eval()
    judgement = judge(course.network, prepare(task.data.evaluation, task.preprocess, progress))
    course.release()
    result = Result(
        top1=judgement.top1,
        loss=judgement.loss,
        held_out=len(task.data.evaluation),
        seconds=sum(epoch.seconds for epoch in epochs),
        sha256=write_weights(folder, course.network),
        made_with=f"torch {torch.__version__} on {course.device.type}",
    )
    training = Training(folder, History(task.settings, epochs, result))
    close_folder(folder, training.history, training.summary().splitlines()[0])
    return training


def _at_most(split: Split, most: int) -> Split:
    return split if len(split) <= most else split.take(seeded_subset(len(split), most))


def _folder_name(model: str, data: str) -> str:
    """MODEL-DATA; of a folder of photographs only its own name."""
    kind, _, path = data.partition(":")
    parts = (model.rpartition(":")[2], kind, Path(path).resolve().name if path else "")
    return re.sub(r"[^\w.-]+", "_", "-".join(filter(None, parts)))
