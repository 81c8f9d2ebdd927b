"""A `.pt2` program: what is read, and what is never run."""

import io
import json
import zipfile
from collections import OrderedDict

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


def first_node(value):
    return value["graph_module"]["graph"]["nodes"][0]


def call(value):
    return value["graph_module"]["module_call_graph"][0]["signature"]


def sizes(value):
    """Of the network's input, of which the first is a symbol."""
    return value["graph_module"]["graph"]["tensor_values"]["input"]["sizes"]


def of_type(kind, context="null"):
    """Inputs in another container; compact JSON, which torch reads as well."""
    spec = [1, {"type": kind, "context": context, "children_spec": []}]
    return json.dumps(spec, separators=(",", ":"))


ENUM = json.dumps([{"__enum__": True, "fqn": "antigravity:x", "name": "x"}])
CALL = "__import__('os')"
# torch writes this into `def forward(self, ...)` and into a call: here a body, a string over both, a comment.
BODY = f"input):\n    {CALL}\n    '''#"
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
HOSTILE = {
    "custom object": ("data/constants/custom_obj_0", pickled, "custom_obj_0"),
    "weights of old": ("data/weights/model.pt", pickled, "weights/model.pt"),
    "code": ("extra/run.py", lambda _: b"print()", "extra/run.py"),
    "compiled": ("data/aotinductor/model/x.so", lambda _: b"ELF", "x.so"),
    "second program": ("models/other.json", lambda _: b"{}", "models/other.json"),
    "pickled weight": (
        WEIGHTS,
        in_json(lambda v: v["config"]["0.weight"].update(use_pickle=True)),
        "payload of '0.weight' is pickled",
    ),
    "pickled weight, as a number": (
        WEIGHTS,
        in_json(lambda v: v["config"]["0.weight"].update(use_pickle=1)),
        "payload of '0.weight' is pickled",
    ),
    "payload elsewhere": (
        WEIGHTS,
        in_json(lambda v: v["config"]["0.weight"].update(path_name="../../x")),
        "payload of '0.weight'",
    ),
    "name of a weight": (WEIGHTS, in_json(lambda v: v["config"].update({CALL: v["config"]["0.bias"]})), CALL),
    "function": (
        PROGRAM,
        in_json(lambda v: first_node(v).update(target="torch.os.system")),
        "torch.os.system",
    ),
    "attribute": (
        PROGRAM,
        in_json(lambda v: first_node(v).update(target="torch.ops.aten.add.__class__")),
        "aten.add.__class__",
    ),
    "reads a file": (
        PROGRAM,
        in_json(lambda v: first_node(v).update(target="torch.ops.aten.from_file.default")),
        "from_file",
    ),
    "writes a file": (
        PROGRAM,
        in_json(lambda v: first_node(v).update(target="torch.ops.aten.save.item")),
        "aten.save.item",
    ),
    "unchecked memory": (
        PROGRAM,
        in_json(lambda v: first_node(v).update(target="torch.ops.aten._nested_view_from_buffer.default")),
        "_nested_view_from_buffer",
    ),
    "operator as argument": (
        PROGRAM,
        in_json(lambda v: first_node(v)["inputs"].append({"name": "x", "arg": {"as_operator": "torch"}})),
        "as_operator",
    ),
    "node's name": (PROGRAM, in_json(lambda v: first_node(v).update(name=f"x = {CALL}; y")), CALL),
    "argument's name": (PROGRAM, in_json(lambda v: call(v).update(forward_arg_names=[BODY])), CALL),
    "size": (PROGRAM, in_json(lambda v: sizes(v)[0]["as_expr"].update(expr_str=CALL)), CALL),
    "endless power": (
        PROGRAM,
        in_json(lambda v: sizes(v)[0]["as_expr"].update(expr_str="9**9**9**9")),
        "9**9**9**9",
    ),
    "container": (PROGRAM, in_json(lambda v: call(v).update(in_spec=of_type("os.PathLike"))), "os.PathLike"),
    "default factory": (
        PROGRAM,
        in_json(lambda v: call(v).update(in_spec=of_type("collections.defaultdict", '{"x": "os"}'))),
        "collections.defaultdict",
    ),
    "imported by a key": (
        PROGRAM,
        in_json(lambda v: call(v).update(out_spec=of_type("builtins.dict", ENUM))),
        "antigravity",
    ),
}


@pytest.mark.parametrize(("member", "how", "message"), HOSTILE.values(), ids=HOSTILE)
def test_what_could_run_code_is_refused(change, member, how, message):
    with pytest.raises(ModelError, match="was refused") as caught:
        read_program(change(member, how))
    assert message in str(caught.value)


def test_samples_guards_and_metadata_are_left_out(change, saved):
    def add(value):
        value.update(guards_code=["raise SystemExit('guard')"])
        first_node(value)["metadata"] = {"from_node": "[[[", "custom": "no JSON"}

    assert read_program(change(PROGRAM, in_json(add))).module()
    assert read_program(change("data/sample_inputs/model.pt", pickled)).module()
    assert read_program(saved).example_inputs is None


def test_a_long_size_takes_no_long_time(change):
    def lengthen(text):
        return in_json(lambda v: sizes(v)[0]["as_expr"].update(expr_str=text))

    with pytest.raises(ModelError, match="100001 characters"):
        read_program(change(PROGRAM, lengthen("1" * 100_000 + "!")))
    with pytest.raises(ModelError, match="was refused"):
        read_program(change(PROGRAM, lengthen("1" * 400 + "!")))


def test_a_compressed_archive_is_refused(saved, tmp_path):
    bomb = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("network/data/weights/weight_0", b"0" * 50_000_000)
    with pytest.raises(ModelError, match="claims to hold 50000000 bytes"):
        read_program(bomb)


def test_a_tensor_larger_than_its_payload_is_refused(change):
    def grow(value):
        value["config"]["0.bias"]["tensor_meta"].update(sizes=[{"as_int": 10**12}], strides=[{"as_int": 0}])

    with pytest.raises(ModelError, match="more elements than bytes"):
        read_program(change(WEIGHTS, in_json(grow)))


def test_a_program_from_a_gpu_says_how_to_save_it(change):
    def move(value):
        value["config"]["0.bias"]["tensor_meta"]["device"].update(type="cuda")

    with pytest.raises(ModelError, match="saved on 'cuda'"):
        read_program(change(WEIGHTS, in_json(move)))


def test_inputs_that_do_not_suit_are_refused(network, tmp_path):
    path = tmp_path / "x.pt2"
    image = torch.randn(2, 3, 16, 16)
    torch.export.save(torch.export.export(network, (image,)), path)
    with pytest.raises(ModelError, match="exactly 2 images at once") as caught:
        spec(path)
    assert "dynamic_shapes" in caught.value.details["to do"]
    open_width = ({0: torch.export.Dim("batch"), 3: torch.export.Dim("width", min=8)},)
    torch.export.save(torch.export.export(network, (image,), dynamic_shapes=open_width), path)
    with pytest.raises(ModelError, match="sides of its input open"):
        spec(path)


class Unusual(nn.Module):
    """Gives a dictionary, as torchvision's segmenters do; a hyphen in a name, an infinite number."""

    def __init__(self, inner):
        super().__init__()
        self.add_module("block-0", inner)

    def forward(self, images):
        answers = self.get_submodule("block-0")(images)
        return OrderedDict(out=answers.masked_fill(answers < -1e6, float("-inf")))


def test_names_numbers_and_outputs_that_are_unusual_but_harmless_pass(network, tmp_path):
    path = tmp_path / "unusual.pt2"
    images = torch.randn(3, 3, 16, 16)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Unusual(network), (images[:2],), dynamic_shapes=({0: batch},))
    for changed in (program, program.run_decompositions()):
        torch.export.save(changed, path)
        found = spec(path).standard.build(10)(images)
        torch.testing.assert_close(found["out"], network(images))


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
