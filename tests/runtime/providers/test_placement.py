"""Where nodes run: read from a record or a profile, said in words, and refused where it is not all."""

import json
from types import SimpleNamespace

import pytest

from edgeproof.runtime.errors import PlacementError
from edgeproof.runtime.providers.placement import (
    Placement,
    keeps_record,
    nodes_from_profile,
    nodes_from_record,
    require_complete,
)

WHOLE = {"cuda": ("conv", "relu", "gemm")}
SPLIT = {"cuda": ("conv", "gemm"), "cpu": ("relu",)}
TOLD = "provider cuda, 2 of 3 nodes; elsewhere: relu (cpu)"


@pytest.mark.parametrize(
    ("wanted", "provider", "nodes", "elsewhere", "fallback", "label", "text"),
    [
        ("cuda", "cuda", WHOLE, (), False, "cuda", "provider cuda, 3 of 3 nodes"),
        ("cuda", "cuda", SPLIT, ("relu (cpu)",), True, "cuda+cpu", TOLD),
        ("auto", "cuda", WHOLE, (), False, "cuda", "provider cuda, 3 of 3 nodes"),
        ("auto", "cuda", SPLIT, ("relu (cpu)",), True, "cuda+cpu", TOLD),
        ("tensorrt", "cuda", WHOLE, (), True, "cuda", "provider cuda, 3 of 3 nodes"),
        ("tensorrt", "cpu", {}, (), True, "cpu", "provider cpu"),
        ("cpu", "cpu", {}, (), False, "cpu", "provider cpu"),
        ("cuda", "cuda", {"cuda": ("conv",), "cpu": ()}, (), False, "cuda", "provider cuda, 1 of 1 nodes"),
    ],
)
def test_what_runs_elsewhere_is_said(wanted, provider, nodes, elsewhere, fallback, label, text):
    placement = Placement(wanted, provider, nodes)
    assert placement.elsewhere == elsewhere
    assert placement.fallback is fallback
    assert placement.label == label
    assert str(placement) == text


def test_providers_that_were_refused_for_the_same_reason_share_a_line():
    refused = ("tensorrt: no libnvinfer.so.10", "cuda: no driver: none", "other: no libnvinfer.so.10")
    placement = Placement("auto", "cpu", {}, refused, dla="DLA 0: 3 layers")
    assert str(placement).splitlines() == [
        "provider cpu; DLA 0: 3 layers",
        "  not tensorrt, other: no libnvinfer.so.10",
        "  not cuda: no driver: none",
    ]


def test_all_nodes_on_the_provider_are_complete():
    require_complete(Placement("cuda", "cuda", WHOLE))
    require_complete(Placement("cpu", "cpu", {}))


def test_nodes_elsewhere_are_counted_and_named():
    with pytest.raises(PlacementError, match="1 of 3 nodes do not run on cuda") as refused:
        require_complete(Placement("cuda", "cuda", SPLIT))
    assert refused.value.details["got"] == "relu (cpu)"
    assert refused.value.details["wanted"] == "every node on cuda"
    assert "--allow-fallback" in refused.value.details["to do"]


def event(name, provider, kind="Conv", category="Node"):
    return {"cat": category, "name": name, "args": {"provider": provider, "op_name": kind}}


CUDA, CPU, ANOTHER = "CUDAExecutionProvider", "CPUExecutionProvider", "AnotherExecutionProvider"


@pytest.fixture
def profile(tmp_path):
    """Writes a profile with these events."""

    def profile(*events):
        (tmp_path / "profile.json").write_text(json.dumps(events), encoding="utf-8")
        return tmp_path / "profile.json"

    return profile


def test_a_profile_tells_each_node_once_by_the_providers_short_name(profile):
    found = nodes_from_profile(
        profile(
            {"cat": "Session", "name": "session_initialization"},
            {"cat": "Session", "name": "model_run", "args": {"provider": CPU}},
            event("conv_fence_before", ""),
            event("conv_kernel_time", CUDA),
            event("conv_kernel_time", CUDA),
            event("gemm_kernel_time", CUDA, "Gemm"),
            event("copy_kernel_time", CUDA, "MemcpyToHost"),
            event("back_kernel_time", CPU, "MemcpyFromHost"),
            event("relu_kernel_time", CPU, "Relu"),
            event("odd_kernel_time", ANOTHER, "Odd"),
            {"cat": "Node", "name": "bare_kernel_time"},
            {"cat": "Node", "name": "plain_kernel_time", "args": {"provider": CPU}},
        )
    )
    assert found == {"cuda": ("conv", "gemm"), "cpu": ("relu", "plain"), ANOTHER: ("odd",)}


@pytest.mark.parametrize("events", [[], [{"cat": "Session", "name": "run"}], [event("conv", "")]])
def test_a_profile_without_nodes_is_no_proof(profile, events):
    with pytest.raises(PlacementError, match="names no node"):
        nodes_from_profile(profile(*events))


class Recording:
    """A session that tells of these nodes: (provider, kind, name)."""

    def __init__(self, *nodes):
        self._nodes = nodes

    def get_provider_graph_assignment_info(self):
        for provider, kind, name in self._nodes:
            node = SimpleNamespace(op_type=kind, name=name)
            yield SimpleNamespace(ep_name=provider, get_nodes=lambda node=node: [node])


def test_a_record_tells_the_same_and_a_node_without_a_name_goes_by_its_operator():
    session = Recording(
        (CUDA, "Conv", "conv"), (CUDA, "MemcpyToHost", "copy"), (CPU, "Relu", ""), (CPU, "Add", "add")
    )
    assert nodes_from_record(session) == {"cuda": ("conv",), "cpu": ("Relu", "add")}


@pytest.mark.parametrize(("session", "keeps"), [(Recording, True), (object, False)])
def test_an_old_onnxruntime_keeps_no_record(session, keeps):
    assert keeps_record(SimpleNamespace(InferenceSession=session)) is keeps
