"""Options that several of the device's commands share, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command import lowered

if TYPE_CHECKING:
    from .providers.request import EngineOptions
    from .signing.keys import VerifyingKey

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A folder that `edgeproof export` wrote.")
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        callback=lowered, help="fp32, fp16 or int8.", show_default="the one that suits the provider"
    ),
]
ProviderOption = Annotated[
    str,
    typer.Option(
        callback=lowered, help="tensorrt, cuda, cpu, or auto: the first of these that takes every node."
    ),
]
FallbackOption = Annotated[
    bool, typer.Option("--allow-fallback", help="Go on when nodes run elsewhere; the results say so.")
]
DeviceOption = Annotated[int, typer.Option(min=0, help="Which GPU.")]
DlaOption = Annotated[int | None, typer.Option("--dla", min=0, help="Use this DLA core of a Jetson.")]
WorkspaceOption = Annotated[
    int | None,
    typer.Option("--workspace", min=1, metavar="MIB", help="Most memory TensorRT may compile with."),
]
BatchOption = Annotated[
    int, typer.Option(min=1, help="Most frames of one inference; only those that are ready go together.")
]
GraphOption = Annotated[bool, typer.Option("--cuda-graph", help="Replay the GPU's launches as one.")]
KeysOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--require-signature",
        metavar="KEY.pem",
        help="Refuse a bundle that none of these public keys signed; may be repeated.",
        show_default="no signature is required",
    ),
]


def engine_options(
    dla: int | None, workspace_mib: int | None, batch: int = 1, cuda_graph: bool = False
) -> EngineOptions:
    """Options of the engine; the same for `build` as for `run`, which must find what `build` compiled."""
    from .providers.request import Batches, EngineOptions

    batches = Batches(batch if cuda_graph else 1, batch, batch)
    return EngineOptions(batches, cuda_graph, dla, workspace_mib << 20 if workspace_mib else None)


def verifying_keys(paths: list[Path] | None) -> list[VerifyingKey]:
    """The public keys that were named.

    Raises:
        InputError: one cannot be read.
        MissingDependency: `cryptography` is not installed.
    """
    from .signing.keys import read_public_key

    return [read_public_key(path) for path in paths or ()]
