"""From what a user types to forms of a model, and the inputs that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.dataset.tensor_file import open_tensor
from ...runtime.bundle.bundle import Bundle, is_bundle
from ...runtime.bundle.manifest import PRECISIONS
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.bundle.shapes import require_fit
from ...runtime.errors import InputError, MissingDependency
from ...runtime.providers.request import ProviderRequest
from ...runtime.sources.readers import expand, read_image
from ...runtime.tasks.base import Task
from ...runtime.tasks.classification import Classification
from ..packages import require_packages
from .compare import Comparison, compare_forms
from .form import PYTORCH, Form, ModelForm
from .saved import SavedForm

if TYPE_CHECKING:
    from ..models.spec import InputShape

IMAGES = "images:"


@dataclass(frozen=True)
class CompareRequest:
    """What is compared.

    Attributes:
        models: as they are typed, the reference first.
        weights, data, input_shape: of a network, as of an export.
        inputs: a .npz or .npy file, or `images:DIR`; None for samples of `data`, else a bundle's golden ones.
        preprocess: how inputs are made of pictures; None for that of the bundle or the network.
        samples: at most this many inputs.
    """

    models: tuple[str, ...]
    weights: str | None = None
    data: str | None = None
    input_shape: InputShape | None = None
    inputs: str | None = None
    preprocess: Preprocess | None = None
    samples: int = 32


@dataclass(frozen=True)
class Opened:
    """A form, and what it knows of its inputs and answers.

    Attributes:
        form: the form.
        bundle: of which it is a precision; None for others.
        task: what its answers mean; None where it does not say.
        preprocess: how its inputs are made of pictures; None where it does not say.
    """

    form: Form
    bundle: Bundle | None = None
    task: Task | None = None
    preprocess: Preprocess | None = None


def open_form(text: str, request: CompareRequest) -> Opened:
    """The form of one model.

    Raises:
        InputError: there is no such model, precision or provider.
    """
    name, at, provider = text.rpartition("@")
    place, colon, precision = (name or text).rpartition(":")
    where = ProviderRequest(provider.lower() if at else "cpu")
    if colon and precision.lower() in PRECISIONS:
        return _of_bundle(text, Path(place), precision.lower(), where)
    path = Path(name or text)
    if path.is_dir() and is_bundle(path):
        models = Bundle.open(path).manifest.models
        raise InputError(
            f"{path} is a bundle of several models.", todo=" or ".join(f"{path}:{each}" for each in models)
        )
    if path.suffix.lower() == ".onnx":
        return _of_file(text, path, where)
    return _of_network(text, request)


def inputs_of(opened: Sequence[Opened], request: CompareRequest) -> NDArray[Any]:
    """The inputs that all forms are given, shape (N, ...): those of a saved form, if there is one.

    Raises:
        InputError: nobody says which, or they do not fit.
    """
    inputs = _inputs_of(opened, request)
    _require_fit(inputs, opened)
    return inputs


def _inputs_of(opened: Sequence[Opened], request: CompareRequest) -> NDArray[Any]:
    for each in opened:
        if isinstance(each.form, SavedForm):
            return each.form.inputs
    preprocess = next(filter(None, (request.preprocess, *(each.preprocess for each in opened))), None)
    if request.inputs is not None:
        return _read(request.inputs, preprocess, request.samples)
    network = any(each.form.provider == PYTORCH for each in opened)
    bundle = next((each.bundle for each in opened if each.bundle), None)
    if bundle is not None and not network and request.data is None:
        return bundle.golden().input[: request.samples]
    return _of_data(opened, request, preprocess)


def _of_bundle(title: str, folder: Path, precision: str, where: ProviderRequest) -> Opened:
    bundle = Bundle.open(folder)
    form = ModelForm(title, bundle.model_bytes(precision), replace(where, precision=precision))
    return Opened(form, bundle, bundle.task, bundle.manifest.preprocess)


def _of_file(title: str, path: Path, where: ProviderRequest) -> Opened:
    if find_spec("onnx") is None:
        raise MissingDependency("onnx", "export", "Reading an ONNX file")
    from onnx import TensorProto

    from ...calibration.onnx_graph.read import read_onnx

    model = read_onnx(path)
    kinds = {node.op_type for node in model.graph.node}
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    precision = "int8" if "QuantizeLinear" in kinds else "fp16" if half else "fp32"
    return Opened(ModelForm(title, model.SerializeToString(), replace(where, precision=precision)))


def _of_network(title: str, request: CompareRequest) -> Opened:
    require_packages()
    from ...calibration.progress import Progress
    from ..request import ExportRequest
    from ..stages.source import load_source
    from .network_form import NetworkForm

    export = ExportRequest(
        title, ".", weights=request.weights, data=request.data, input_shape=request.input_shape
    )
    source = load_source(replace(export, preprocess=request.preprocess), Progress())
    return Opened(NetworkForm(title, source), None, source.task, source.feed.trained)


def _read(source: str, preprocess: Preprocess | None, most: int) -> NDArray[Any]:
    """Inputs from a file of tensors, or from pictures."""
    from ..data.dataset import seeded_subset

    if not source.startswith(IMAGES):
        rows = open_tensor(Path(source), ("input",))
        return rows(np.arange(min(most, len(rows))))
    if preprocess is None:
        raise InputError(
            "Pictures are no inputs without knowing how they are prepared.", todo="--preprocess FILE.json"
        )
    paths = expand([source.removeprefix(IMAGES)])
    return np.stack([preprocess(read_image(paths[i])) for i in seeded_subset(len(paths), most)])


def _of_data(
    opened: Sequence[Opened], request: CompareRequest, preprocess: Preprocess | None
) -> NDArray[Any]:
    """Samples of the data set that was named, else of the network's own."""
    from ..data import catalog
    from ..data.dataset import seeded_subset
    from .network_form import NetworkForm

    source = next((each.form.source for each in opened if isinstance(each.form, NetworkForm)), None)
    if source is None and request.data is None:
        raise InputError(
            "Nothing says which inputs both models are given.",
            wanted="real inputs",
            todo="--inputs FILE.npz, --inputs images:DIR, or --data NAME",
        )
    if source is not None:
        samples = source.data.evaluation
    else:
        task = next((each.task.name for each in opened if each.task), Classification.name)
        samples = catalog.find(str(request.data), task).evaluation
    return samples.take(seeded_subset(len(samples), request.samples)).tensor(preprocess)


def _require_fit(inputs: NDArray[Any], opened: Sequence[Opened]) -> None:
    for each in opened:
        if isinstance(each.form, ModelForm):
            wanted = (None, *each.form.input_shape[1:])
            message = f"The inputs are not those of {each.form.title}."
            todo = "both models must take the same inputs; say which with --inputs or --preprocess"
            require_fit(inputs, wanted, each.form.input_dtype, InputError, message, todo)


def compare_models(request: CompareRequest, task: Task | None = None) -> Comparison:
    """Compare the two models of a request, the first of which is the reference.

        found = compare_models(CompareRequest(("my_bundle:fp32", "my_bundle:int8")))
        assert found, found.parity.reason

    Args:
        request: the models, and the inputs that both are given.
        task: what the answers mean; None for what a bundle says, else what the outputs suggest.

    Raises:
        InputError: a model or the inputs cannot be used, or do not go together.
    """
    return compare_opened([open_form(each, request) for each in request.models], request, task)


def compare_opened(opened: Sequence[Opened], request: CompareRequest, task: Task | None = None) -> Comparison:
    """The same for two forms that are open."""
    first, second = opened
    known = task or first.task or second.task
    return compare_forms(first.form, second.form, inputs_of(opened, request), known)
