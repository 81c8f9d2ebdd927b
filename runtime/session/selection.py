"""Opening a bundle: the provider is chosen first, and then the precision that suits it."""

from __future__ import annotations

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest
from ..providers.registry import PROVIDERS
from ..providers.request import ProviderRequest
from ..providers.tensorrt import TENSORRT
from .builder import ModelFor
from .session import Session, load_onnxruntime


def open_session(bundle: Bundle, request: ProviderRequest) -> Session:
    """A session of a bundle: the one that `run`, `verify`, `build` and `bench` all use.

    Args:
        bundle: the bundle.
        request: where and how to run it. Its precision is taken on every provider; where it names none, each
            provider has its usual one.

    Raises:
        InputError: the bundle does not hold that precision.
        BundleError: the model's file has changed.
        PlacementError: the provider cannot be used, refuses such a model, or leaves nodes to another.
        PrecisionError: the provider would compute such a model wrongly.
        OutputError: an engine must be compiled and cannot be kept.
        MissingDependency: ONNX Runtime is not installed.
    """
    return Session(model_for(bundle, request), provider=request)


def model_for(bundle: Bundle, request: ProviderRequest) -> ModelFor:
    """A function that gives a bundle's model for a provider, as `Session` takes it.

    Its errors are those of `open_session`.
    """

    def choose(provider: str) -> tuple[bytes, str]:
        chosen, dla = PROVIDERS[provider], request.engine.dla_core is not None
        precision = request.precision or chosen.usual_precision(bundle.manifest, dla=dla)
        chosen.require_precision(bundle.manifest, precision, load_onnxruntime().__version__)
        return bundle.model_bytes(precision), precision

    return choose


def explain_precision(manifest: Manifest, provider: str, precision: str) -> str:
    """Why the precision is not the one that the verdict ships; empty where it is.

    Args:
        manifest: of the bundle.
        provider: on which it runs: tensorrt, cuda or cpu.
        precision: in which it runs.
    """
    ship = manifest.verdict.ship
    if precision == ship:
        return ""
    made_for = manifest.target or TENSORRT.name  # bundles of schema 1 do not say, and were made for it
    if ship == "int8" and made_for != provider:
        return f"int8 was made for {made_for}; --precision int8 runs it here all the same"
    return f"the verdict is {ship}; --precision {ship} runs it here"
