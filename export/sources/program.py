"""A `.pt2` file: PyTorch's ExportedProgram, read only as far as nothing in it can run code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export.pt2_archive._package import load_pt2

from ...runtime.errors import ModelError, gist
from ..models.spec import InputShape, ModelSpec, Variant
from .program_archive import TODO, checked

SUFFIX = ".pt2"
DYNAMIC = 'torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))'


def spec(path: Path) -> ModelSpec:
    """Describe the network of a program; its only variant gives that network, with the weights in the file.

    Raises:
        ModelError: the file is absent, is no program of one input with an open batch, or holds what could
            run code.
    """
    program = read_program(path)
    shape = _input_shape(program, path)
    network: nn.Module = program.module(check_guards=False)

    def build(classes: int) -> nn.Module:
        return network

    return ModelSpec(
        name=path.stem,
        source=f"{path.name} (torch.export)",
        standard=Variant("standard", shape, build),
        data=(),
        own_weights=True,
    )


def read_program(path: Path) -> torch.export.ExportedProgram:
    """Read a program after its archive has passed the check.

    Raises:
        ModelError: the file is absent, damaged, or holds what could run code.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}.", todo=TODO)
    try:
        return load_pt2(io.BytesIO(checked(path))).exported_programs["model"]
    except ModelError:
        raise
    except Exception as error:  # zipfile, json and torch fail on damaged archives in many ways
        raise ModelError(f"{path} cannot be read as an ExportedProgram: {gist(error)}", todo=TODO) from error


def _input_shape(program: torch.export.ExportedProgram, path: Path) -> InputShape:
    names = list(program.graph_signature.user_inputs)
    if len(names) != 1:
        raise ModelError(
            f"{path} has {len(names)} inputs.",
            wanted="exactly one: the images",
            got=", ".join(map(str, names)),
        )
    node = next(node for node in program.graph.nodes if node.name == names[0])
    example: Any = node.meta["val"]
    batch, *sides = example.shape
    if isinstance(batch, int):
        raise ModelError(f"{path} takes exactly {batch} images at once.", wanted="any number", todo=DYNAMIC)
    if not all(isinstance(side, int) for side in sides):
        raise ModelError(
            f"{path} leaves sides of its input open.", got=str(tuple(sides)), todo="export it fixed"
        )
    return tuple(int(side) for side in sides)
