"""Manifests of older schemas, rewritten in the current one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..records import decode


@dataclass(frozen=True)
class _Model1:
    """What schema 2 says in another way of a model."""

    kept_float32: tuple[str, ...] = ()


def upgrade_schema_1(value: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest of schema 1 as one of schema 2; what schema 1 did not say is null or empty.

    Args:
        value: the manifest as parsed JSON. What does not keep schema 1 is left for the reader to refuse.

    Raises:
        ValueError: names the path of a value that has no counterpart in schema 2.
    """
    models = value.get("models")
    if isinstance(models, dict):
        models = {name: _upgrade_model(model, f"models.{name}") for name, model in models.items()}
    added: dict[str, Any] = {"target": None, "pictures": [], "evidence": None, "task": None}
    upgraded = {**value, **added, "schema": 2}
    return upgraded if models is None else {**upgraded, "models": models}


def _upgrade_model(model: Any, where: str) -> Any:
    if not isinstance(model, dict):
        return model
    old = decode(_Model1, model, where)
    kept = dict.fromkeys(old.kept_float32, "float32")
    return {**model, "kept": kept, **_upgrade_proofs(model)}


def _upgrade_proofs(model: Mapping[str, Any]) -> dict[str, Any]:
    """Parity and accuracy of schema 1, which knew classifications alone."""
    proofs: dict[str, Any] = {}
    parity, accuracy = model.get("parity"), model.get("accuracy")
    if isinstance(parity, dict) and isinstance(parity.get("tolerance"), dict):
        agreement = parity["tolerance"].get("top1_agreement")
        proofs["parity"] = {
            **parity,
            "agreement": parity.get("top1_agreement"),
            "tolerance": {**parity["tolerance"], "agreement": agreement},
        }
    if isinstance(accuracy, dict):
        proofs["accuracy"] = {**accuracy, "metric": "top-1", "value": accuracy.get("top1")}
    return proofs
