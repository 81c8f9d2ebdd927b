"""The registry, and that nothing outside of the providers' own files knows one by its name."""

import ast
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeproof import runtime
from edgeproof.runtime import Session
from edgeproof.runtime.providers.base import EngineContext, ExecutionProvider
from edgeproof.runtime.providers.registry import PROVIDERS, candidates
from edgeproof.runtime.providers.request import EngineOptions, ProviderRequest

CAPI = Path(onnxruntime.__file__).parent / "capi"
FLOOR = Path(runtime.__file__).parent


@pytest.mark.parametrize(
    ("name", "tried"),
    [
        ("auto", ["tensorrt", "cuda", "cpu"]),
        ("tensorrt", ["tensorrt", "cuda", "cpu"]),
        ("cuda", ["cuda", "cpu"]),
        ("cpu", ["cpu"]),
    ],
)
def test_a_provider_falls_back_to_those_behind_it(name, tried):
    assert [provider.name for provider in candidates(name)] == tried


@pytest.mark.parametrize("name", ["tensorrt", "cuda"])
def test_every_option_is_known_to_the_provider_library(name):
    provider = PROVIDERS[name]
    library = CAPI / provider.library
    if not library.exists():
        pytest.skip("this onnxruntime is built without the provider")
    engine = EngineOptions(cuda_graph=True, dla_core=0 if provider.has_dla else None, workspace=1 << 30)
    request = ProviderRequest(name, "int8", device=1, exact=True, engine=engine)
    context = EngineContext("input", ("batch", 3, 8, 8), Path("engines"), Path("context.onnx"))
    ((_, options),) = provider.provider_list(request, context)
    data = library.read_bytes()
    assert len(options) >= 3
    assert [option for option in options if b"\0" + option.encode() + b"\0" not in data] == []


def names_a_provider(node):
    """Whether an expression is a provider's name, or holds one among several."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return any(map(names_a_provider, node.elts))
    return isinstance(node, ast.Constant) and node.value in PROVIDERS


def compares_a_provider(node):
    if isinstance(node, ast.Compare):
        return any(map(names_a_provider, (node.left, *node.comparators)))
    if isinstance(node, ast.Dict):
        return any(key is not None and names_a_provider(key) for key in node.keys)
    if isinstance(node, ast.Subscript):
        return names_a_provider(node.slice)
    if isinstance(node, ast.Match):
        return any(isinstance(n, ast.MatchValue) and names_a_provider(n.value) for n in ast.walk(node))
    return isinstance(node, ast.For) and names_a_provider(node.iter)


def test_no_file_but_the_providers_own_asks_for_a_provider_by_name():
    own = {Path(sys.modules[type(provider).__module__].__file__).name for provider in PROVIDERS.values()}
    files = [
        file for file in FLOOR.rglob("*.py") if not (file.parent.name == "providers" and file.name in own)
    ]
    assert len(files) > 50
    found = [
        f"{file.relative_to(FLOOR)}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if compares_a_provider(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code", ["p == 'cpu'", "p != 'cuda'", "p in ('cuda', 'tensorrt')", "{'cpu': 1}", "x['cuda']"]
)
def test_such_a_question_is_seen(code):
    assert any(map(compares_a_provider, ast.walk(ast.parse(code))))


def test_a_new_provider_is_one_class_and_its_line_in_the_registry(monkeypatch, tiny_model):
    """One that ONNX Runtime spells like the CPU's, so that it runs here."""

    class Newcomer(ExecutionProvider):
        name, ort_name, takes_every_node = "newcomer", "CPUExecutionProvider", True

    monkeypatch.setitem(PROVIDERS, "newcomer", Newcomer())
    with Session(tiny_model(), provider="newcomer") as session:
        assert session.placement.label == "newcomer"
        assert session.run(np.zeros((2, 3, 8, 8), np.float32))["scores"].shape == (2, 4)
