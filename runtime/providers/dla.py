"""A Jetson's deep learning accelerator (DLA): when it may be requested, and which layers run on it.

ONNX Runtime always lets TensorRT run on the GPU what the DLA does not take, and reports the whole graph as
TensorRT's in both cases. So only the engine's own list of layers is evidence; without it nothing is claimed.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..device.jetson import ROOT, board, dla_cores
from ..errors import InputError, PlacementError, first_names

FIRST_WITHOUT = (10, 8)  # TensorRT 10.7 was the last 10.x that compiles for the DLA
# How TensorRT names the layers of an engine: what the DLA takes is one "{ForeignNode[first...last]}" between
# copies to and from its memory ("nvm"). Parts that Myelin compiles for the GPU are named ForeignNode too, but
# have no such copies around them.
SUBGRAPH = "{ForeignNode["
COPIES = (" to nvm", " from nvm", " copy finish")

State = Literal["dla", "partly", "not proven"]


@dataclass(frozen=True)
class DlaPlacement:
    """What an engine's list of layers says of the DLA.

    Attributes:
        state: dla (every layer), partly, or not proven.
        on_gpu: layers that run on the GPU.
        reason: why nothing is proven.
    """

    state: State
    on_gpu: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        if self.state == "dla":
            return "every layer on the DLA, by the engine's own list"
        if self.state == "partly":
            return f"on the GPU instead of the DLA: {first_names(self.on_gpu)}"
        return f"not proven to be on the DLA: {self.reason}"


def require_dla(core: int, precision: str, tensorrt: tuple[int, int, int], root: Path = ROOT) -> None:
    """Refuse a DLA that this model, this TensorRT or this board cannot use.

    Args:
        core: the requested DLA core.
        precision: of the model.
        tensorrt: version of the TensorRT found.
        root: where the file system starts.

    Raises:
        InputError: another precision than fp16, or a core that the board does not have.
        PlacementError: this TensorRT does not compile for the DLA.
    """
    if precision != "fp16":
        raise InputError(
            "The DLA runs FP16 models only: it takes neither float32 nor Q/DQ pairs.",
            got=precision,
            todo="choose --precision fp16, or leave --dla out",
        )
    if tensorrt[:2] >= FIRST_WITHOUT:
        raise PlacementError(
            "This TensorRT does not compile for the DLA.",
            wanted="TensorRT 10.7 or older, such as that of JetPack 6.2",
            got=".".join(map(str, tensorrt)),
            todo="leave --dla out: the GPU then runs the model",
        )
    cores = dla_cores(root)
    if core >= cores:
        raise InputError(
            f"This board has no DLA {core}.",
            got=board(root) or "not a Jetson",
            available=", ".join(map(str, range(cores))) or "none",
            todo="leave --dla out: the GPU then runs the model",
        )


def inspect_engine(engines: Path) -> DlaPlacement:
    """Read where the layers of a compiled engine run, with TensorRT's engine inspector.

    Args:
        engines: folder that holds the engine.
    """
    try:
        tensorrt = importlib.import_module("tensorrt")
    except ImportError:
        return DlaPlacement("not proven", reason="TensorRT's Python package, which lists layers, is absent")
    files = sorted(engines.glob("*.engine"))
    if len(files) != 1:
        return DlaPlacement("not proven", reason=f"{len(files)} engines were compiled, and one can be read")
    return judge_layers(_layers(tensorrt, files[0].read_bytes()))


def judge_layers(names: Sequence[str]) -> DlaPlacement:
    """Whether the DLA runs all layers of an engine, by the names of the layers."""
    copies = [name for name in names if name.endswith(COPIES)]
    subgraphs = [name for name in names if name.startswith(SUBGRAPH)]
    on_gpu = tuple(name for name in names if name not in copies and name not in subgraphs)
    if not names:
        return DlaPlacement("not proven", reason="the engine tells no layers")
    if not copies:
        return DlaPlacement("partly", tuple(names))
    return DlaPlacement("partly", on_gpu) if on_gpu else DlaPlacement("dla")


def _layers(tensorrt: Any, engine: bytes) -> list[str]:
    """Names of the layers; none where the engine cannot be read here."""
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    loaded = tensorrt.Runtime(logger).deserialize_cuda_engine(engine)
    if loaded is None:
        return []
    inspector = loaded.create_engine_inspector()
    text = inspector.get_engine_information(tensorrt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return []
    return [layer if isinstance(layer, str) else str(layer.get("Name", "")) for layer in layers]
