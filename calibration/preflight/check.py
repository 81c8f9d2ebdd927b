"""Pre-flight: does NVIDIA's own compiler take the graph? Asked on any x86-64 Linux machine, GPU or not.

TensorRT for RTX reads ONNX with NVIDIA's parser and builds strongly typed graphs, as TensorRT 11 does on the
device. Its engines are for other GPUs than Jetson's, and thrown away: what counts is that the graph builds.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx

from ...runtime.bundle.manifest import Preflight
from ...runtime.errors import InputError, MissingDependency, ModelError, ProofError
from ..onnx_graph.read import is_whole, parse_onnx
from ..onnx_graph.shapes import shape_of
from . import compiler
from .refusals import OTHER_ANSWERS, Refusal, explain, plain_words

Batch = tuple[int, int, int]
Shapes = tuple[tuple[int, ...], ...]
USUAL_BATCH: Batch = (1, 8, 32)
ORIN_KIN = "86"  # the compiler offers no 87 (Orin); 86 is its nearest relative, Ampere too
PATIENCE = 1800  # seconds; far beyond any model that we know, but a hostile one might never end
COMMAND = (sys.executable, "-m", compiler.__name__)
"""Starts the compiler in the current folder; see `compiler` for what it reads and writes there."""


@dataclass(frozen=True)
class PreflightRequest:
    """What the model must be built for.

    Attributes:
        capabilities: CUDA compute capabilities without the dot ("86").
        batch: smallest, usual and largest batch; None for `USUAL_BATCH`, or the model's own if that is fixed.
        sides: shape of one sample, where the model leaves more than the batch open; None if it does not.

    Raises:
        InputError: no capability, or a batch that is not three ascending sizes from 1 on.
    """

    capabilities: tuple[str, ...] = (ORIN_KIN,)
    batch: Batch | None = None
    sides: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.capabilities:
            raise InputError("No compute capability was named.", todo=f"--capability {ORIN_KIN}")
        if self.batch and not 1 <= self.batch[0] <= self.batch[1] <= self.batch[2]:
            raise InputError(
                "These batch sizes are out of order.",
                wanted="smallest, usual and largest, ascending from 1 on",
                got=",".join(map(str, self.batch)),
                todo="--batch 1,8,32",
            )


@dataclass(frozen=True)
class PreflightResult:
    """The compiler's word on one model; true if it built it for every capability.

    Attributes:
        compiler: name and version.
        capabilities: what it was built for.
        profile: smallest, usual and largest shape of each input that varies.
        refusals: why not, the graph's own faults first; empty if accepted.
        warnings: what the compiler remarked, each once.
        seconds: time of parsing and building.
        engine_bytes: length of the engine, by capability; 0 where none was built.
        layers: number of layers of the engine, by capability.
        int8_layers: number of those that read INT8 values, by the compiler's own list. Which kernel runs a
            layer is decided on the GPU.
    """

    compiler: str
    capabilities: tuple[str, ...]
    profile: dict[str, Shapes]
    refusals: tuple[Refusal, ...]
    warnings: tuple[str, ...]
    seconds: float
    engine_bytes: Mapping[str, int] = field(default_factory=dict)
    layers: Mapping[str, int] = field(default_factory=dict)
    int8_layers: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return not self.refusals

    def __str__(self) -> str:
        if self.refusals:
            more = f", and {len(self.refusals) - 1} more" if len(self.refusals) > 1 else ""
            return f"{self.refusals[0]}{more}"
        built = ", ".join(f"SM{capability}" for capability in self.capabilities)
        shapes = "; ".join(f"{name} {_span(shapes)}" for name, shapes in self.profile.items())
        return f"built for {built}" + (f", {shapes}" if shapes else "")

    def record(self, *more: str) -> Preflight:
        """The result as a manifest keeps it, with what else there is to say."""
        return Preflight(self.compiler, bool(self), "; ".join((str(self), *self.warnings, *more)))

    def require(self, name: str) -> None:
        """Stop unless the model was accepted.

        Args:
            name: what to call the model in the message.

        Raises:
            ProofError: it was refused.
        """
        if self.refusals:
            raise ProofError(
                f"NVIDIA's compiler does not accept the {name} model.",
                got="\n".join(map(str, self.refusals[:5])),
                wanted=f"a graph that {self.compiler} builds",
                todo=self.refusals[0].advice,
            )


def is_installed() -> bool:
    """Whether there is a compiler to ask."""
    return find_spec(compiler.PACKAGE) is not None


def preflight(model: bytes, request: PreflightRequest | None = None) -> PreflightResult:
    """Parse and build a model with NVIDIA's compiler, in a process of its own.

    Args:
        model: a serialized ONNX model, untrusted.
        request: what to build for; None for Ampere and the usual batches.

    Raises:
        ModelError: no ONNX model, weights that are in other files, or an input whose sides are open.
        InputError: the request does not fit the model, or the compiler knows no such capability.
        MissingDependency: the compiler is not installed.
    """
    request = request or PreflightRequest()
    graph = parse_onnx(model, "This model")
    if not is_whole(graph):
        raise ModelError("The model keeps weights in other files.", todo="save the model in one file")
    profile = input_profile(graph, request)
    found = _ask(model, {"capabilities": request.capabilities, "profile": profile})
    if "available" in found:
        raise InputError(
            "The compiler does not know every one of these compute capabilities.",
            got=", ".join(request.capabilities),
            available=", ".join(found["available"]),
            todo="choose among these with --capability; 86 is the nearest to Jetson Orin",
        )
    builds: list[Any] = found["builds"]
    refusals = [explain(p, graph, build["capability"]) for build in builds for p in build["problems"]]
    refusals = refusals or [explain(w, graph) for w in found["warnings"] if OTHER_ANSWERS.search(w["why"])]
    remarks = dict.fromkeys(plain_words(w["why"]) for w in found["warnings"])
    return PreflightResult(
        found["compiler"],
        request.capabilities,
        profile,
        tuple(dict.fromkeys(refusals)),
        tuple(remark for remark in remarks if remark and not OTHER_ANSWERS.search(remark)),
        sum(build["seconds"] for build in builds),
        *(_by_capability(builds, key) for key in ("bytes", "layers", "int8_layers")),
    )


def _by_capability(builds: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    return {build["capability"]: build.get(key, 0) for build in builds}


def input_profile(model: onnx.ModelProto, request: PreflightRequest) -> dict[str, Shapes]:
    """Smallest, usual and largest shape of every input whose shape is not fixed.

    Raises:
        ModelError: an axis other than the batch is open, and the request does not close it.
        InputError: the request asks for another batch or other sides than the model takes.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {info.name: _sides(info) for info in model.graph.input if info.name not in weights}
    profile: dict[str, Shapes] = {}
    for name, sides in inputs.items():
        if None in sides:
            rest = _closed(name, sides, request.sides)
            batches = [sides[0]] * 3 if sides[0] else request.batch or USUAL_BATCH
            profile[name] = tuple((size, *rest) for size in batches)
    _refuse_fixed(inputs, request)
    return profile


def _sides(info: onnx.ValueInfoProto) -> list[int | None]:
    """An input's shape; None for an axis that may vary."""
    shape = shape_of(info)
    if shape is None:
        raise ModelError(
            f"The input {info.name!r} has no shape, so nothing can be built for it.",
            todo="export the model again with the input's shape recorded",
        )
    return [side if isinstance(side, int) and side > 0 else None for side in shape]


def _closed(name: str, sides: Sequence[int | None], wanted: Sequence[int] | None) -> list[int]:
    """The sides after the batch, with what is open taken from the request."""
    rest = sides[1:]
    if wanted is None:
        wanted = [side or 0 for side in rest]
    fits = len(wanted) == len(rest) and all(
        side in (None, want) for side, want in zip(rest, wanted, strict=True)
    )
    if not fits:
        raise InputError(
            f"The input {name!r} takes other sides.",
            wanted=_text(rest),
            got=_text(wanted),
            todo="give --input the sides of one sample, such as 3x224x224",
        )
    if 0 in wanted:
        raise ModelError(
            f"The input {name!r} leaves more open than its batch.",
            got=_text(rest),
            todo="say for which sides to build, such as --input 3x224x224",
        )
    return list(wanted)


def _refuse_fixed(inputs: dict[str, list[int | None]], request: PreflightRequest) -> None:
    """Refuse a request for what no input leaves open: it would be altered silently."""
    shaped = [(name, sides) for name, sides in inputs.items() if sides]
    if not shaped:
        return
    name, sides = shaped[0]
    fixed_batch = all(other[0] is not None for _, other in shaped)
    if request.batch and fixed_batch and set(request.batch) != {sides[0]}:
        raise InputError(
            f"The model takes batches of {sides[0]} only.",
            got=",".join(map(str, request.batch)),
            todo="leave --batch out, or export the model with a dynamic batch",
        )
    if request.sides and not any(None in other for _, other in shaped):
        _closed(name, sides, request.sides)


def _ask(model: bytes, job: dict[str, Any]) -> dict[str, Any]:
    """Start the compiler in an empty folder, where a hostile model finds no file to read."""
    with tempfile.TemporaryDirectory(prefix="edgeproof-preflight-") as place:
        folder = Path(place)
        (folder / compiler.JOB).write_text(json.dumps(job), encoding="utf-8")
        (folder / compiler.MODEL).write_bytes(model)
        try:
            done = subprocess.run(  # noqa: S603 - our own module
                COMMAND, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return _died(f"the compiler did not end within {PATIENCE} s")
        try:
            found = json.loads((folder / compiler.ANSWER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return _died("; ".join([f"the compiler broke off with {_status(done.returncode)}", *last]))
    if "absent" in found:
        raise MissingDependency("tensorrt-rtx-cu13", "preflight", "Pre-flight")
    if "broken" in found:
        raise InputError(
            "NVIDIA's compiler is installed but does not load.",
            got=found["broken"],
            todo='pip install --force-reinstall "edgeproof[preflight]"',
        )
    return found


def _died(why: str) -> dict[str, Any]:
    """The answer on behalf of a compiler that gave none."""
    problem = {"name": "", "operator": "", "why": why}
    build = {"capability": "", "seconds": 0.0, "problems": [problem], "bytes": 0}
    return {"compiler": compiler.NAME, "warnings": [], "builds": [build]}


def _status(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"status {code}"


def _span(shapes: Sequence[Sequence[int]]) -> str:
    return " / ".join(map(_text, shapes))


def _text(sides: Sequence[int | None]) -> str:
    return "x".join("?" if side in (None, 0) else str(side) for side in sides)
