"""`edgeproof train`: from a request to trained weights, with a checkpoint after every epoch."""

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
from ..models.spec import InputShape, Variant
from ..models.wrapped import Wrapped
from ..sources.resolve import check_preprocess, resolve
from .checkpoint import Checkpoint, Record, save_checkpoint
from .fingerprint import data_fingerprint, network_fingerprint, training_fingerprint
from .folder import CHECKPOINT, close_folder, open_folder, read_state, write_weights
from .history import Epoch, History, Result
from .samples import Samples, prepare
from .trainer import Trainer, evaluate_network

MAX_EVALUATION = 2000  # held-out samples after each epoch; the result is measured on all of them


@dataclass(frozen=True)
class TrainRequest:
    """What a training is asked for. The options of `edgeproof train` are the same requests.

    Attributes:
        model: registry name, torchvision name, `package.module:factory` or `file.py:factory`.
        data: name of a data set, or `imagefolder:DIR`; None for the architecture's own.
        variant: "standard" or "small" (the option `--form`); None for the one that suits the data.
        options: hyper-parameters of the architecture, as typed.
        input_shape: (channels, height, width) instead of the variant's own; None for that.
        samples: largest number of samples to train on, chosen by seed; None for all.
        recipe: values for fields of the architecture's recipe (`epochs`, `batch`, `rate`, `seed`, ...).
        out: folder of the results; None for artifacts/training/MODEL-DATA.
        fresh: start anew, whatever an earlier training left at `out`.
    """

    model: str
    data: str | None = None
    variant: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    input_shape: InputShape | None = None
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
        """The result, in two lines."""
        settings, result = self.history.settings, self.history.result
        epochs = len(self.history.epochs)
        return (
            f"{settings['model']['name']} on {settings['data']['name']}: {result.score:.2f} % "
            f"{result.metric} on {result.held_out} held-out samples\n"
            f"{epochs} epoch{'' if epochs == 1 else 's'} of {settings['data']['samples']} samples "
            f"in {result.seconds:.1f} s, {result.made_with}"
        )


@dataclass(frozen=True)
class TrainingJob:
    """A request whose parts are found and go together, with the network built from the seed."""

    name: str
    network: nn.Module
    data: Dataset
    train: Split
    preprocess: Preprocess | None
    recipe: Recipe
    settings: Mapping[str, Any]


def train_model(request: TrainRequest, progress: Progress | None = None) -> Training:
    """Train, or go on from the checkpoint that an earlier run left; a finished training is not repeated.

    Args:
        request: the model, its data, and how it is trained.
        progress: shows on stderr what goes on; None for silence.

    Raises:
        InputError: the request cannot be carried out, or `out` holds something else.
    """
    progress = progress or Progress(quiet=True)
    job = _resolve_job(request)
    folder = request.out or Path("artifacts") / "training" / _folder_name(request.model, job.data.name)
    state = read_state(folder, job.settings, fresh=request.fresh)
    if state.finished:
        progress.note(f"{folder} holds this training already (--fresh repeats it)")
        return Training(folder, state.finished)
    _check_output(job)
    if state.checkpoint is None:
        open_folder(folder)
    with progress.stage("samples"):
        samples = prepare(job.train, job.preprocess, progress)
        evaluation = prepare(_at_most(job.data.evaluation, MAX_EVALUATION), job.preprocess, progress)
    trainer = Trainer(job.network, samples, job.recipe)
    with progress.stage("training"):
        record = _resume(trainer, state.checkpoint, progress) or Record(job.settings, ())
        epochs = _fit(trainer, evaluation, record, folder / CHECKPOINT, job.recipe.epochs, progress)
    with progress.stage("result"):
        return _finish(trainer, job, epochs, folder, progress)


def _resolve_job(request: TrainRequest) -> TrainingJob:
    found = resolve(request.model, request.data, request.variant, request.options, request.input_shape)
    variant, data = found.variant, found.data
    preprocess = data.preprocess(variant.input_shape)
    check_preprocess(variant, preprocess)
    if data.train is None:
        raise DataError(
            f"The data set {data.name} has no part to train on.",
            wanted="`train` and `val` folders of class folders",
            todo="split it so, or give another with --data",
        )
    train = _at_most(data.train, request.samples or len(data.train))
    recipe = replace(found.spec.recipe, **request.recipe)
    network = _build(variant, len(data.labels), recipe.seed)
    settings = training_fingerprint(
        network_fingerprint(found.spec.name, variant, found.options, network),
        data_fingerprint(data.name, train, data.evaluation),
        preprocess,
        recipe,
    )
    return TrainingJob(found.spec.name, network, data, train, preprocess, recipe, settings)


def _build(variant: Variant, classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return variant.build(classes)


def _check_output(job: TrainingJob) -> None:
    """Refuse a network that cannot take the samples, or that gives no score for each class."""
    inputs = torch.from_numpy(job.train.take([0]).tensor(job.preprocess))
    job.network.eval()
    try:
        with torch.inference_mode():
            found = job.network(inputs)
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"{job.name} cannot take the samples of {job.data.name}.",
            wanted="a network that takes " + "x".join(map(str, ("N", *inputs.shape[1:]))),
            got=gist(error),
            todo="give the network's own input with --input CxHxW, or other data with --data",
        ) from error
    if isinstance(job.network, Wrapped):  # of our own making
        return
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if shape != (1, len(job.data.labels)):
        raise ModelError(
            f"The output of {job.name} does not fit the data set {job.data.name}.",
            wanted=f"shape (1, {len(job.data.labels)}) for one sample: one score a class",
            got=f"shape {shape}" if isinstance(found, Tensor) else f"a {shape}",
            todo="let the factory take `num_classes`, or give other data with --data",
        )


def _resume(trainer: Trainer, checkpoint: Checkpoint | None, progress: Progress) -> Record | None:
    if checkpoint is None:
        return None
    checkpoint.resume(trainer)
    progress.note(f"going on after epoch {trainer.epoch}, from {checkpoint.path}")
    return checkpoint.record


def _fit(
    trainer: Trainer, evaluation: Samples, record: Record, path: Path, epochs: int, progress: Progress
) -> tuple[Epoch, ...]:
    """Train to the last epoch and leave a checkpoint after each."""
    try:
        while trainer.epoch < epochs:
            last = _epoch(trainer, evaluation, progress)
            record = replace(record, epochs=(*record.epochs, last))
            save_checkpoint(path, record, trainer)
            progress.note(
                f"epoch {last.epoch} of {epochs}: loss {last.loss:.3f}, held out {last.held_out_loss:.3f}, "
                f"score {last.score:.2f} % of {last.held_out}"
            )
    except (KeyboardInterrupt, SystemExit):
        if record.epochs:
            progress.note(f"{path} is kept: the same command, without --fresh, goes on from there")
        raise
    return record.epochs


def _epoch(trainer: Trainer, evaluation: Samples, progress: Progress) -> Epoch:
    start = time.perf_counter()
    stats = trainer.train_epoch(progress)
    trainer.settle_batch_norm()  # else the first epochs would be measured with the initial statistics
    held_out = evaluate_network(trainer.network, evaluation)
    seconds = time.perf_counter() - start
    return Epoch(
        trainer.epoch, stats.loss, held_out.loss, held_out.score, len(evaluation), stats.rate, seconds
    )


def _finish(
    trainer: Trainer, job: TrainingJob, epochs: tuple[Epoch, ...], folder: Path, progress: Progress
) -> Training:
    trainer.network.eval()
    held_out = evaluate_network(trainer.network, prepare(job.data.evaluation, job.preprocess, progress))
    trainer.release()
    result = Result(
        metric=held_out.metric,
        score=held_out.score,
        loss=held_out.loss,
        held_out=len(job.data.evaluation),
        seconds=sum(epoch.seconds for epoch in epochs),
        sha256=write_weights(folder, trainer.network),
        made_with=f"torch {torch.__version__} on {trainer.device.type}",
    )
    training = Training(folder, History(job.settings, epochs, result))
    close_folder(folder, training.history, training.summary().splitlines()[0])
    return training


def _at_most(split: Split, count: int) -> Split:
    return split if len(split) <= count else split.take(seeded_subset(len(split), count))


def _folder_name(model: str, data: str) -> str:
    """MODEL-DATA; of a folder of photographs only its own name."""
    kind, _, path = data.partition(":")
    parts = (model.rpartition(":")[2], kind, Path(path).resolve().name if path else "")
    return re.sub(r"[^\w.-]+", "_", "-".join(filter(None, parts)))
