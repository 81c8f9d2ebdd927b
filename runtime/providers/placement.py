"""Which provider runs each node: read from the session itself, never assumed.

ONNX Runtime lists the providers that it was built with, not those that work; where CUDA cannot be loaded it
opens a CPU session without an error. So the provider of each node is read from its assignment record, or,
where it keeps none, from the profile of one inference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PlacementError, first_names
from .registry import AUTO, PROVIDERS

RECORD_ENTRY = "session.record_ep_graph_assignment_info"

_SHORT_NAMES = {provider.ort_name: name for name, provider in PROVIDERS.items()}
_COPY_NODES = ("MemcpyToHost", "MemcpyFromHost")


@dataclass(frozen=True)
class Placement:
    """Where a model runs.

    Attributes:
        wanted: the provider that was requested: tensorrt, cuda, cpu or auto.
        provider: the provider on which the session was opened.
        nodes: names of nodes by provider; empty for the CPU, where no other provider could take one.
        refused: for each provider that was tried before, why it was not taken.
        dla: what is known of the DLA, where it was requested; empty elsewhere.
    """

    wanted: str
    provider: str
    nodes: Mapping[str, tuple[str, ...]]
    refused: tuple[str, ...] = ()
    dla: str = ""

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Nodes that another provider runs, each with that provider's name."""
        return tuple(
            f"{node} ({provider})"
            for provider, names in self.nodes.items()
            if provider != self.provider
            for node in names
        )

    @property
    def fallback(self) -> bool:
        """Whether anything runs elsewhere than was requested."""
        return bool(self.elsewhere) or self.wanted not in (AUTO, self.provider)

    @property
    def label(self) -> str:
        """The providers that run nodes, such as cuda, or tensorrt+cpu."""
        others = [name for name in self.nodes if name != self.provider and self.nodes[name]]
        return "+".join([self.provider, *others])

    def __str__(self) -> str:
        count = sum(map(len, self.nodes.values()))
        text = f"provider {self.provider}" + (
            f", {count - len(self.elsewhere)} of {count} nodes" if count else ""
        )
        if self.elsewhere:
            text += f"; elsewhere: {first_names(self.elsewhere)}"
        if self.dla:
            text += f"; {self.dla}"
        return text + "".join(f"\n  not {reason}" for reason in _merged(self.refused))


def keeps_record(ort: Any) -> bool:
    """Whether this ONNX Runtime can tell a session's assignments (1.23 cannot)."""
    return hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")


def nodes_from_record(session: Any) -> dict[str, tuple[str, ...]]:
    """Nodes by provider, from a session that was created with `RECORD_ENTRY` set."""
    return _grouped(
        (part.ep_name, node.op_type, node.name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    )


def nodes_from_profile(file: Path) -> dict[str, tuple[str, ...]]:
    """Nodes by provider, from ONNX Runtime's profile of an inference.

    Raises:
        PlacementError: the profile tells of no node.
    """
    events = json.loads(file.read_text(encoding="utf-8"))
    nodes = {
        event["name"]: event["args"]
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    if not nodes:
        raise PlacementError("ONNX Runtime's profile names no node: where the model runs is unknown.")
    return _grouped(
        (arguments["provider"], arguments.get("op_name", ""), name.removesuffix("_kernel_time"))
        for name, arguments in nodes.items()
    )


def require_complete(placement: Placement) -> None:
    """Refuse a placement that leaves nodes elsewhere.

    Raises:
        PlacementError: lists them.
    """
    if placement.elsewhere:
        count = sum(map(len, placement.nodes.values()))
        raise PlacementError(
            f"{len(placement.elsewhere)} of {count} nodes do not run on {placement.provider}.",
            wanted=f"every node on {placement.provider}",
            got=first_names(placement.elsewhere),
            todo="pass --allow-fallback to go on like this, or choose another --provider or --precision",
        )


def _merged(refused: Iterable[str]) -> list[str]:
    """Reasons of the form `provider: reason`; providers with the same reason share one entry."""
    providers: dict[str, list[str]] = {}
    for entry in refused:
        provider, _, reason = entry.partition(": ")
        providers.setdefault(reason, []).append(provider)
    return [f"{', '.join(names)}: {reason}" for reason, names in providers.items()]


def _grouped(nodes: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, ...]]:
    """Names by short provider name; copies between two memories belong to none."""
    groups: dict[str, list[str]] = {}
    for provider, kind, name in nodes:
        if kind not in _COPY_NODES:
            groups.setdefault(_SHORT_NAMES.get(provider, provider), []).append(name or kind)
    return {provider: tuple(names) for provider, names in groups.items()}
