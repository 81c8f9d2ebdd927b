"""A `.pt2` program: what is read, and what is never run."""

import io
import json
import zipfile

import pytest
import torch
from torch import nn

from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.sources.program import read_program, spec
from edgeproof.runtime.errors import InputError, ModelError, WeightsError


class Boom:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code was run')",)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    ).eval()


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "network.pt2"
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (torch.randn(2, 3, 16, 16),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return path


@pytest.fixture
def change(saved, tmp_path):
    """change(name, how): the archive with one member changed, or added where it is not there."""

    def change(name, how):
        path = tmp_path / "changed.pt2"
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
            root = old.namelist()[0].partition("/")[0]
            held = {member.removeprefix(f"{root}/"): old.read(member) for member in old.namelist()}
            held[name] = how(held.get(name, b""))
            for member, content in held.items():
                new.writestr(f"{root}/{member}", content)
        return path

    return change


def pickled(_):
    stream = io.BytesIO()
    torch.save(Boom(), stream)
    return stream.getvalue()


def in_json(change):
    def how(content):
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return how


def test_a_program_answers_as_its_network(saved, network):
    inputs = torch.randn(5, 3, 16, 16)
    with torch.inference_mode():
        found = read_program(saved).module(check_guards=False)(inputs)
        assert torch.allclose(found, network(inputs), atol=1e-6)
    assert spec(saved).standard.input_shape == (3, 16, 16)


def test_it_becomes_a_bundle_with_its_own_weights(saved, tmp_path, progress):
    request = ExportRequest(
        model=str(saved), data="digits", out=tmp_path / "out", precisions=("fp32",), evaluation=8
    )
    bundle = export_bundle(request, progress)
    assert bundle.manifest.weights["source"] == "module"
    assert bundle.manifest.input.shape == ("batch", 3, 16, 16)


@pytest.mark.parametrize(
    ("member", "how", "message"),
    [
        ("data/sample_inputs/model.pt", pickled, "sample inputs are more than tensors"),
        ("data/constants/custom_obj_0", pickled, "it holds 'data/constants/custom_obj_0'"),
        ("extra/run.py", lambda _: b"print()", "it holds 'extra/run.py'"),
        (
            "data/weights/model_weights_config.json",
            in_json(lambda v: v["config"]["0.weight"].update(use_pickle=True)),
            "the payload of '0.weight' is pickled",
        ),
        (
            "data/weights/model_weights_config.json",
            in_json(lambda v: v["config"]["0.weight"].update(path_name="../../x")),
            "is pickled",
        ),
        (
            "models/model.json",
            in_json(lambda v: v["graph_module"]["graph"]["nodes"][0].update(target="torch.os.system")),
            "it calls 'torch.os.system'",
        ),
        (
            "models/model.json",
            in_json(lambda v: v.update(expr={"expr_str": "__import__('os').system('true')"})),
            "a size in it is the expression",
        ),
        (
            "models/model.json",
            in_json(lambda v: v.update(in_spec='[1, {"type": "os.PathLike"}]')),
            "of the type 'os.PathLike'",
        ),
    ],
)
def test_what_could_run_code_is_refused(change, member, how, message):
    with pytest.raises(ModelError, match="was refused") as caught:
        read_program(change(member, how))
    assert message in str(caught.value)


def test_guards_are_dropped(change):
    path = change("models/model.json", in_json(lambda v: v.update(guards_code=["raise SystemExit('guard')"])))
    assert read_program(path).module(check_guards=False)


@pytest.mark.parametrize("data", [b"", b"PK", b"no archive"])
def test_damaged_files_are_refused(tmp_path, data):
    (tmp_path / "x.pt2").write_bytes(data)
    with pytest.raises(ModelError, match="cannot be read as an ExportedProgram"):
        read_program(tmp_path / "x.pt2")


def test_other_weights_and_no_data_are_refused(saved, tmp_path, progress):
    for changes, error in (({"weights": "random", "data": "digits"}, WeightsError), ({}, InputError)):
        request = ExportRequest(model=str(saved), out=tmp_path / "out", **changes)
        with pytest.raises(error):
            export_bundle(request, progress)
