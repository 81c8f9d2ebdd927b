"""A form's answers in a file, so that they can be compared on another machine."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.bundle.manifest import Precision
from ...runtime.errors import DataError, gist
from ...runtime.files import publish_file
from ...runtime.records import decode
from ...runtime.tasks.base import Outputs
from .form import Form, Layers

LAYER_SAMPLES = 4  # samples of which layers are looked at
MAX_BYTES = 8 << 30  # of all arrays
OUTPUT, LAYER = "output.", "layer."


@dataclass(frozen=True)
class About:
    """Which form was saved: its attributes, and which node makes each layer's value."""

    title: str
    precision: Precision
    provider: str
    closed: str
    nodes: dict[str, str]


class SavedForm(Form):
    """What another machine saved.

    Args:
        about: the form.
        inputs: that it was given, shape (N, ...).
        answers: to all of them.
        inside: values of its layers for the first samples, each of shape (samples, ...).
    """

    def __init__(
        self, about: About, inputs: NDArray[Any], answers: Outputs, inside: Mapping[str, NDArray[Any]]
    ) -> None:
        self.title, self.precision, self.provider = about.title, about.precision, about.provider
        self.closed = about.closed
        self.inputs = inputs
        self._answers, self._inside, self._nodes = answers, inside, about.nodes

    def outputs(self, inputs: NDArray[Any]) -> Outputs:
        """As they were saved."""
        return self._answers

    def layers(self) -> Layers:
        """As they were saved."""
        from ...calibration.onnx_graph.depth import FloatValues

        def show(position: int, sample: NDArray[Any]) -> dict[str, NDArray[Any]]:
            return {name: values[position : position + 1] for name, values in self._inside.items()}

        return Layers(FloatValues(self._nodes, frozenset(self._nodes)), lambda names: nullcontext(show))


def save(form: Form, inputs: NDArray[Any], path: Path) -> None:
    """Write a form's answers, what its layers compute for the first samples, and the inputs.

    Raises:
        OutputError: the place cannot be written.
    """
    arrays: dict[str, Any] = {OUTPUT + name: values for name, values in form.outputs(inputs).items()}
    nodes: dict[str, str] = {}
    if not form.closed:
        layers = form.layers()
        nodes = {name: node for name, node in layers.known.values.items() if name in layers.known.layers}
        with layers.show(list(nodes)) as show:
            each = [show(i, inputs[i : i + 1]) for i in range(min(LAYER_SAMPLES, len(inputs)))]
        arrays |= {LAYER + name: np.concatenate([values[name] for values in each]) for name in nodes}
    about = json.dumps(asdict(About(form.title, form.precision, form.provider, form.closed, nodes)))
    with publish_file(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, inputs=inputs, about=np.frombuffer(about.encode(), np.uint8), **arrays)


def load(path: Path) -> SavedForm:
    """Read what `save` wrote.

    Raises:
        DataError: the file is absent or damaged, or another program's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise ValueError(f"it would have {size} bytes")
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        about = decode(About, json.loads(arrays.pop("about").tobytes()))
        inputs = arrays.pop("inputs")
    except FileNotFoundError as error:
        raise DataError(
            f"There is no file {path}.", todo="edgeproof compare MODEL --save FILE.npz"
        ) from error
    except Exception as error:  # a damaged archive fails in many ways, none of them documented
        raise DataError(
            f"{path} cannot be compared with.",
            wanted="a file that `edgeproof compare MODEL --save FILE.npz` wrote",
            got=gist(error),
        ) from error
    return SavedForm(about, inputs, _named(arrays, OUTPUT), _named(arrays, LAYER))


def _named(arrays: dict[str, NDArray[Any]], start: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}
