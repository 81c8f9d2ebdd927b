"""The child process by itself: what it answers where there is no compiler to ask."""

import sys

import pytest

from edgeproof.calibration.preflight import compiler

JOB = {"capabilities": ["86"], "profile": {}}


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Puts a package with this text in the compiler's place."""

    def package(text: str) -> None:
        (tmp_path / "pretended_compiler.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "pretended_compiler", raising=False)
        monkeypatch.setattr(compiler, "PACKAGE", "pretended_compiler")

    return package


def test_a_package_that_is_not_installed_is_absent(monkeypatch):
    monkeypatch.setattr(compiler, "PACKAGE", "edgeproof_knows_no_such_package")
    assert list(compiler.answer(JOB)) == ["absent"]


@pytest.mark.parametrize(
    "text", ["raise OSError('libnvinfer.so: no such file')", "import edgeproof_knows_no_such_package"]
)
def test_a_package_that_does_not_load_is_broken(package, text):
    package(text)
    assert list(compiler.answer(JOB)) == ["broken"]


def test_a_capability_that_the_compiler_does_not_name_is_answered_with_those_that_it_does(package):
    package(
        "__version__ = '9'\n"
        "class ComputeCapability:\n    __members__ = {'NONE': 0, 'CURRENT': 1, 'SM86': 2, 'SM120': 3}\n"
    )
    found = compiler.answer({"capabilities": ["86", "87"], "profile": {}})
    assert found == {"compiler": "tensorrt-rtx 9", "available": ["86", "120"]}


LISTED = """Layers:
Name: a, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata:
Name: b, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [-1,3], Datatype: Float, Format: (Linear) }], \
Constants: [ { Name: c, Datatype: Int8 }], Outputs: [ { Name: q, Datatype: Int8 }]
Name: d, LayerType: correlation, Inputs: [ { Name: q, Dimensions: [-1,3], Datatype: Int8, Format: (NHWC) \
}], Constants: [], Outputs: [ { Name: y, Datatype: Float }]
"""


def test_a_layer_is_int8_if_it_reads_int8_values():
    assert compiler.count_layers(LISTED) == {"layers": 2, "int8_layers": 1}


def test_of_an_engine_without_a_list_nothing_is_counted():
    assert compiler.count_layers("") == {"layers": 0, "int8_layers": 0}


RECORDING = """
import sys, types
__version__ = "9"
built = []


class Anything:
    def __getattr__(self, name):
        return lambda *arguments: Anything()


class ComputeCapability:
    SM86, SM120 = 86, 120
    __members__ = {"SM86": SM86, "SM120": SM120}


class ILogger:
    VERBOSE, WARNING, ERROR, INTERNAL_ERROR = range(4)
    def __init__(self):
        pass


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 1


class ProfilingVerbosity:
    DETAILED = 1


class OnnxParser(Anything):
    def __init__(self, network, log):
        pass
    def parse(self, model):
        return True


class Profile:
    def __init__(self):
        self.shapes = {}
    def set_shape(self, name, smallest, usual, largest):
        self.shapes[name] = (smallest, usual, largest)


class Config:
    def set_compute_capability(self, capability, index):
        self.capability = (capability, index)
    def add_optimization_profile(self, profile):
        self.profile = profile.shapes


class Builder:
    def __init__(self, log):
        pass
    def create_network(self, flags):
        self.flags = flags
        return "network"
    def create_builder_config(self):
        return Config()
    def create_optimization_profile(self):
        return Profile()
    def build_serialized_network(self, network, config):
        built.append((self.flags, config.num_compute_capabilities, config.capability, config.profile))
        return types.SimpleNamespace(nbytes=7)
"""


def test_each_capability_is_built_strongly_typed_from_the_smallest_to_the_largest_batch(
    package, monkeypatch, tmp_path
):
    package(RECORDING)
    monkeypatch.chdir(tmp_path)
    (tmp_path / compiler.MODEL).write_bytes(b"a model")
    shapes = [[1, 3], [8, 3], [32, 3]]
    found = compiler.answer({"capabilities": ["86", "120"], "profile": {"x": shapes}})
    assert [(build["capability"], build["bytes"], build["problems"]) for build in found["builds"]] == [
        ("86", 7, []),
        ("120", 7, []),
    ]
    profile = {"x": tuple(shapes)}
    assert sys.modules["pretended_compiler"].built == [
        (2, 1, (86, 0), profile),
        (2, 1, (120, 0), profile),
    ]
