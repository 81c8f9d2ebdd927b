"""The range of each tensor by what it does to the network's output."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ..runtime.errors import ModelError
from ..runtime.session import load_onnxruntime
from .collect import Range
from .graph import as_tensor, opset
from .histogram import Histogram
from .ranges import METHODS, Grid
from .sites import Site, activations

ALIKE = 0.02  # ranges whose ends differ by less give the same output but for chance
NO_SITE = -1
FIRST_OPSET = 13
SCALARS = {
    "site": TensorProto.INT64,
    "scale": TensorProto.FLOAT,
    "lowest": TensorProto.FLOAT,
    "highest": TensorProto.FLOAT,
}


@dataclass(frozen=True)
class Choice:
    """What became of one tensor's candidates.

    Attributes:
        value: name of the tensor.
        method: the method whose range is kept.
        range: that range.
        damage: for each method, the power of the output's error over the power of the output when this
            tensor alone is quantized.
    """

    value: str
    method: str
    range: Range
    damage: Mapping[str, float]


def choose_ranges(
    model: onnx.ModelProto,
    sites: Collection[Site],
    histograms: Mapping[str, Histogram],
    samples: NDArray[Any],
    grid: Grid,
) -> Iterator[Choice]:
    """For each activation, the range of max, percentile, entropy or mse that disturbs the output least.

    One tensor at a time is quantized while all else stays float, as Wu et al. judge layers in "Integer
    Quantization for Deep Learning Inference" (arXiv 2004.09602). One session serves all tensors: extra inputs
    tell it which of them to round, and how. So a candidate costs one pass over the samples, and candidates
    that nearly coincide are measured once.

    Args:
        model: a float32 model, opset 13 or later, without control flow.
        sites: which inputs of which nodes are quantized; weights among them stay float here.
        histograms: of each activation among the sites.
        samples: a few calibration inputs, shape (N, ...).
        grid: how integers are laid over a range.

    Yields:
        One choice for each activation, in the order of the sites.

    Raises:
        ModelError: the opset is too old, or ONNX Runtime does not accept the model.
    """
    names = activations(sites)
    simulation = _Simulation(model, sites, names)
    reference = simulation.outputs(samples, NO_SITE)
    for index, name in enumerate(names):
        candidates = {method: find(histograms[name], grid) for method, find in METHODS.items()}
        damage: dict[str, float] = {}
        for method, candidate in candidates.items():
            twin = next((other for other in damage if _alike(candidates[other], candidate)), None)
            damage[method] = (
                damage[twin]
                if twin
                else _damage(reference, simulation.outputs(samples, index, *_integers(candidate, grid)))
            )
        best = min(damage, key=damage.__getitem__)
        yield Choice(name, best, candidates[best], damage)


def _integers(chosen: Range, grid: Grid) -> tuple[float, float, float]:
    """Scale, and the smallest and the largest multiple of it."""
    scales, zeros = grid.parameters(np.array([chosen.low]), np.array([chosen.high]))
    return float(scales[0]), float(-zeros[0]), float(grid.steps - zeros[0])


def _alike(one: Range, other: Range) -> bool:
    width = max(one.high - one.low, other.high - other.low)
    return max(abs(one.low - other.low), abs(one.high - other.high)) <= ALIKE * width / 2


def _damage(reference: NDArray[np.float64], outputs: NDArray[np.float64]) -> float:
    power = float(np.sum(reference**2))
    error = float(np.sum((outputs - reference) ** 2))
    if error == 0:
        return 0.0
    return error / power if power > 0 and math.isfinite(error) else math.inf


class _Simulation:
    """A model of which any one activation can be rounded to integers and back."""

    def __init__(self, model: onnx.ModelProto, sites: Collection[Site], names: Sequence[str]) -> None:
        if opset(model) < FIRST_OPSET:
            raise ModelError(
                "The model's opset is too old to simulate integers in it.",
                wanted=f"opset {FIRST_OPSET} or later",
                got=f"opset {opset(model)}",
            )
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # As in Session: weights come with the model, never from files that it names.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        data = _with_rounding(model, sites, names).SerializeToString()
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise ModelError(f"ONNX Runtime does not accept the model: {error}") from error
        found = self._session.get_inputs()[0]
        self._input, self._batch = found.name, found.shape[0]
        self._output = self._session.get_outputs()[0].name

    def outputs(
        self, samples: NDArray[Any], site: int, scale: float = 1, lowest: float = 0, highest: float = 0
    ) -> NDArray[np.float64]:
        """The model's first output on all samples while one activation, or none, is rounded."""
        scalars = {
            _scalar("site"): np.array(site, np.int64),
            _scalar("scale"): np.array(max(scale, np.finfo(np.float32).tiny), np.float32),
            _scalar("lowest"): np.array(lowest, np.float32),
            _scalar("highest"): np.array(highest, np.float32),
        }
        pieces = [
            self._session.run([self._output], {self._input: batch, **scalars})[0]
            for batch in self._batches(samples)
        ]
        return np.concatenate(pieces).astype(np.float64)

    def _batches(self, samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """One sample at a time, or a fixed batch's number, the last batch filled from the front."""
        size = self._batch if isinstance(self._batch, int) else 1
        for start in range(0, len(samples), size):
            yield samples[np.arange(start, start + size) % len(samples)]


def _with_rounding(model: onnx.ModelProto, sites: Collection[Site], names: Sequence[str]) -> onnx.ModelProto:
    """The model with a switch before every site; the sites of one activation share theirs."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    graph = rounded.graph
    makers = {node.output[0]: node for node in graph.node}
    for site in sites:
        if site.axis is None:
            makers[site.node].input[site.position] = _rounded(site.value)
    switches = {name: _switch(name) for name in names}
    for index, name in enumerate(names):
        graph.initializer.append(as_tensor(f"{_rounded(name)}.index", np.array(index, np.int64)))
    nodes = [node for info in graph.input for node in switches.get(info.name, ())]
    for node in graph.node:
        nodes += [node, *(added for name in node.output for added in switches.get(name, ()))]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copies)
    graph.input.extend(
        helper.make_tensor_value_info(_scalar(name), kind, []) for name, kind in SCALARS.items()
    )
    return rounded


def _switch(name: str) -> list[NodeProto]:
    """If the activation is the chosen one, its nearest multiples of the scale; else itself."""
    result = _rounded(name)
    on, multiples, whole, clipped, kept = (
        f"{result}.{part}" for part in ("on", "div", "round", "clip", "as_is")
    )
    quantized = [
        helper.make_node("Div", [name, _scalar("scale")], [multiples]),
        helper.make_node("Round", [multiples], [whole]),
        helper.make_node("Clip", [whole, _scalar("lowest"), _scalar("highest")], [clipped]),
        helper.make_node("Mul", [clipped, _scalar("scale")], [f"{result}.mul"]),
    ]
    branches = {
        "then_branch": _branch(quantized),
        "else_branch": _branch([helper.make_node("Identity", [name], [kept])]),
    }
    return [
        helper.make_node("Equal", [_scalar("site"), f"{result}.index"], [on]),
        helper.make_node("If", [on], [result], **branches),
    ]


def _branch(nodes: list[NodeProto]) -> onnx.GraphProto:
    last = nodes[-1].output[0]
    output = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, f"make {last}", [], [output])


def _rounded(name: str) -> str:
    return f"{name}.rounded"


def _scalar(name: str) -> str:
    return f"edgeproof.rounding.{name}"
