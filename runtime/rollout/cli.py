"""The commands of a roll-out: sign, install, rollback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..command import JsonOption, emit
from ..notices import elapsed_notices
from ..options import (
    BatchOption,
    BundleArgument,
    DeviceOption,
    DlaOption,
    FallbackOption,
    GraphOption,
    KeysOption,
    PrecisionOption,
    ProviderOption,
    WorkspaceOption,
    engine_options,
    verifying_keys,
)

if TYPE_CHECKING:
    from .slot import Installed

PASSWORD = "EDGEPROOF_KEY_PASSWORD"  # noqa: S105 - the name of an environment variable

SlotOption = Annotated[
    Path, typer.Option("--slot", metavar="DIR", help="The folder that holds the installed bundles.")
]


def sign(
    bundle: BundleArgument,
    key: Annotated[
        Path,
        typer.Option(
            metavar="KEY.pem",
            help=f"An EC private key; of an encrypted one, ${PASSWORD} holds the password.",
        ),
    ],
) -> None:
    """Sign every file of a bundle, in the format of OpenSSF Model Signing.

    Writes model.sig into the bundle. A device checks it with --require-signature and the public key.
    """
    from ..bundle.bundle import Bundle
    from ..signing.keys import read_private_key
    from ..signing.signature import sign as write_signature

    signing = read_private_key(key, os.environ.get(PASSWORD))
    path = write_signature(Bundle.open(bundle), signing)
    emit(f"{path}: signed by the key {signing.hint[:16]}")


def install(  # noqa: PLR0913 - a command has as many arguments as options
    bundle: BundleArgument,
    slot: SlotOption,
    precision: PrecisionOption = None,
    provider: ProviderOption = "auto",
    allow_fallback: FallbackOption = False,
    device: DeviceOption = 0,
    dla: DlaOption = None,
    workspace: WorkspaceOption = None,
    batch: BatchOption = 1,
    cuda_graph: GraphOption = False,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Take an export older than one that was installed before.")
    ] = False,
    require_signature: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove a bundle on this device, and switch a slot to it.

    The bundle is copied, verified, compiled for the provider, and its golden inputs are replayed there. Only
    then does the slot change, by one rename. A process that runs the slot changes over between two frames.
    """
    from ..providers.request import ProviderRequest
    from .install import install as install_bundle
    from .slot import Slot

    request = ProviderRequest(
        provider=provider,
        precision=precision,
        allow_fallback=allow_fallback,
        device=device,
        engine=engine_options(dla, workspace, batch, cuda_graph),
    )
    keys = verifying_keys(require_signature)
    with elapsed_notices(f"installing {bundle}"):
        installed = install_bundle(bundle, Slot(slot), request, keys, allow_older=allow_older)
    _tell(installed, slot, as_json=as_json)


def rollback(
    slot: SlotOption,
    precision: PrecisionOption = None,
    provider: ProviderOption = "auto",
    allow_fallback: FallbackOption = False,
    device: DeviceOption = 0,
    require_signature: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switch a slot back to the version before, after proving it once more."""
    from ..providers.request import ProviderRequest
    from .install import rollback as go_back
    from .slot import Slot

    request = ProviderRequest(
        provider=provider, precision=precision, allow_fallback=allow_fallback, device=device
    )
    with elapsed_notices(f"going back in {slot}"):
        installed = go_back(Slot(slot), request, verifying_keys(require_signature))
    _tell(installed, slot, as_json=as_json)


def _tell(installed: Installed, slot: Path, *, as_json: bool) -> None:
    from ..records import encode

    if as_json:
        emit(json.dumps(encode(installed), indent=2))
        return
    release = installed.release
    proven = f"{installed.precision} proven on {installed.provider}"
    emit(f"{slot}: version {installed.version} is {release.name} of {release.created}, {proven}")
