"""A small bundle whose answers are known, and ways to damage it."""

import dataclasses
import hashlib
import io
import json
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgeproof.runtime.bundle.accuracy import paired_accuracy
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.manifest import (
    SCHEMA,
    FileEntry,
    Manifest,
    ModelEntry,
    OutputSpec,
    PictureEntry,
    Preflight,
    TensorSpec,
    Verdict,
    manifest_sha256,
)
from edgeproof.runtime.bundle.parity import TOLERANCES, compare_outputs
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.device import libraries
from edgeproof.runtime.device.gpu import Driver, Gpu
from edgeproof.runtime.inference import exact_replay
from edgeproof.runtime.inference.verification import replay
from edgeproof.runtime.providers import base, nvidia, tensorrt, tf32
from edgeproof.runtime.session import builder as opening
from edgeproof.runtime.sources.readers import read_image
from edgeproof.runtime.tasks.classification import Classification
from edgeproof.runtime.tasks.outputs import specs_of

BUNDLES = Path(__file__).with_name("bundles")
LABELS = ("red", "green", "blue", "dark")
COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250), "dark": (3, 3, 3)}
# From the mean of each channel (-1..1) to a score for each label.
WEIGHTS = np.array(
    [[4.001, -1.1, -1.2, -2.003], [-1.3, 4.002, -1.4, -2.005], [-1.5, -1.6, 4.003, -2.007]], np.float32
)
BIAS = np.array([0.1, 0.2, 0.3, 0.4], np.float32)


def _model(weights=WEIGHTS, bias=BIAS, softmax=False):
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Gemm", ["means", "weights", "bias"], ["gemm" if softmax else "scores"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["gemm"], ["scores"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _answers(inputs, weights=WEIGHTS, softmax=False):
    scores = inputs.mean(axis=(2, 3), dtype=np.float64) @ weights.astype(np.float64) + BIAS
    if softmax:
        powers = np.exp(scores)
        scores = powers / powers.sum(axis=1, keepdims=True)
    return scores.astype(np.float32)


def _golden_inputs():
    random = np.random.default_rng(7)
    colours = random.uniform(-1, 1, (6, 3, 1, 1))
    return (colours + random.normal(0, 0.05, (6, 3, 8, 8))).astype(np.float32)


def _write(folder, name, data):
    (folder / name).write_bytes(data)
    return FileEntry(name, hashlib.sha256(data).hexdigest(), len(data))


def _write_picture(folder, name, number):
    """A picture of a label's colour with some noise, so that resizing and cropping show."""
    label = LABELS[number % len(LABELS)]
    noise = np.random.default_rng(number).integers(-5, 6, (14, 17, 3))
    stream = io.BytesIO()
    image = Image.fromarray(np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8))
    image.save(stream, "PNG" if name.endswith(".png") else "JPEG")
    return PictureEntry(**dataclasses.asdict(_write(folder, name, stream.getvalue())), label=label)


def _signed(value):
    if "sha256" in value:
        with suppress(UnicodeEncodeError):  # a lone surrogate has no hash
            value = {**value, "sha256": manifest_sha256(value)}
    return json.dumps(value)


def _npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.fixture(scope="session")
def tiny_model():
    """tiny_model(weights=..., bias=..., softmax=...): the colour classifier as ONNX bytes."""
    return _model


@pytest.fixture(scope="session")
def npz():
    """npz(name=array, ...): the bytes of a .npz file."""
    return _npz


@pytest.fixture(scope="session")
def colours():
    """One colour for each label of the bundle."""
    return COLOURS


@pytest.fixture(scope="session")
def write_bundle():
    """write_bundle(folder, softmax=False, picture_files=(), **changes): a valid bundle.

    `picture_files` names recorded pictures, one of each colour in turn; changes replace manifest fields.
    """

    def write(folder, softmax=False, picture_files=(), **changes):
        folder.mkdir(parents=True)
        inputs = _golden_inputs()
        preprocess = Preprocess(resize=8, crop=(8, 8), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        entries = tuple(_write_picture(folder, name, i) for i, name in enumerate(picture_files))
        tensors = [preprocess(read_image(folder / name)) for name in picture_files]
        recorded = {"pictures": np.stack(tensors)} if tensors else {}
        answers = _answers(inputs, softmax=softmax)
        models = {}
        half = WEIGHTS.astype(np.float16).astype(np.float32)
        for precision, weights in (("fp32", WEIGHTS), ("fp16", half)):
            got = _answers(inputs, weights, softmax)
            right = [True] * len(answers)
            kept = (answers.argmax(axis=1) == got.argmax(axis=1)).tolist()
            file = _write(folder, f"model.{precision}.onnx", _model(weights, softmax=softmax))
            models[precision] = ModelEntry(
                **dataclasses.asdict(file),
                nodes=4 if softmax else 3,
                parity=compare_outputs(
                    {"scores": answers},
                    {"scores": got},
                    TOLERANCES[precision],
                    Classification(),
                    specs_of({"scores": answers}),
                ),
                accuracy=paired_accuracy(Classification().metric, right, kept),
                preflight=Preflight("a compiler", True, "accepted"),
            )
        manifest = Manifest(
            schema=SCHEMA,
            name="colours",
            architecture="mean_and_gemm",
            form="small",
            edgeproof="0.1.0",
            created="2026-01-02T03:04:05+00:00",
            weights={"source": "demo"},
            data={"name": "colours"},
            input=TensorSpec("input", ("batch", 3, 8, 8), "float32"),
            outputs=(
                OutputSpec(
                    "scores", ("batch", len(LABELS)), "float32", "probabilities" if softmax else "logits"
                ),
            ),
            preprocess=preprocess,
            labels=LABELS,
            models=models,
            target=None,
            golden=_write(folder, "golden.npz", _npz(input=inputs, output=answers, **recorded)),
            pictures=entries,
            evidence=None,
            verdict=Verdict("fp16", "it holds the budget"),
            toolchain={"python": "3.11"},
        )
        manifest = dataclasses.replace(manifest, **changes)
        (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def bundle_folder(write_bundle, tmp_path):
    """A valid bundle with fp32 and fp16, which labels a picture by its colour."""
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def bundle(bundle_folder):
    """The same, opened."""
    return Bundle.open(bundle_folder)


@pytest.fixture
def manifest_json(bundle_folder):
    """The bundle's manifest as parsed JSON, to be changed at will."""
    return json.loads((bundle_folder / "manifest.json").read_text())


@pytest.fixture(scope="session")
def edit_manifest():
    """edit_manifest(folder, change): apply change(dict) to the manifest on disk, and give it its hash."""

    def edit(folder, change):
        path = folder / "manifest.json"
        value = json.loads(path.read_text())
        change(value)
        path.write_text(_signed(value))

    return edit


@pytest.fixture(scope="session")
def signed():
    """signed(value): a manifest as JSON text, with the hash of what it says."""
    return _signed


@pytest.fixture
def schema_1_folder(tmp_path):
    """A bundle as edgeproof wrote it before schema 2."""
    folder = tmp_path / "schema_1"
    folder.mkdir()
    manifest = json.loads((BUNDLES / "schema_1.json").read_text())
    inputs = _golden_inputs()
    golden = _write(folder, "golden.npz", _npz(input=inputs, output=_answers(inputs)))
    manifest["golden"] = dataclasses.asdict(golden)
    for model in manifest["models"].values():
        model.update(dataclasses.asdict(_write(folder, model["file"], _model())))
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return folder


@pytest.fixture(scope="session")
def replace_file(edit_manifest):
    """replace_file(folder, name, data): put other bytes there, with a manifest that vouches for them."""

    def replace(folder, name, data):
        entry = dataclasses.asdict(_write(folder, name, data))

        def change(manifest):
            for old in (*manifest["models"].values(), manifest["golden"], *manifest["pictures"]):
                if old["file"] == name:
                    old.update(entry)

        edit_manifest(folder, change)

    return replace


@pytest.fixture(scope="session")
def make_key(tmp_path_factory):
    """make_key(curve=..., secret=""): files of a private key, perhaps encrypted, and its public half."""
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec

    def make(curve=ec.SECP256R1, secret=""):
        folder, key = tmp_path_factory.mktemp("key"), ec.generate_private_key(curve())
        encryption = pem.BestAvailableEncryption(secret.encode()) if secret else pem.NoEncryption()
        private, public = folder / "private.pem", folder / "public.pem"
        private.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, encryption))
        form = pem.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(key.public_key().public_bytes(pem.Encoding.PEM, form))
        return private, public

    return make


@pytest.fixture(scope="session")
def paint():
    """paint(path, label, size=(12, 10), mode="RGB"): save a picture of one of the bundle's colours."""

    def save(path, label, size=(12, 10), mode="RGB"):
        Image.new("RGB", size, COLOURS[label]).convert(mode).save(path)
        return path

    return save


# --- a machine with a GPU, as far as ONNX Runtime's Python side can tell ------------------------------

ORIN = Gpu("Orin", "8.7", 8 << 30)


class FakeBinding:
    """An IOBinding whose GPU memory is the CPU's."""

    def __init__(self, machine, real):
        self.machine, self.real = machine, real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def bind_output(self, name, device, index):
        self.machine.require_device(device, index)
        self.real.bind_output(name, "cpu")


class FakeGpuSession:
    """Computes on the CPU, claims what its machine's plan says, and keeps CUDA's rules.

    Nobody opens a session or allocates while another thread records a CUDA graph (error 900). A graph is
    replayed by one thread at a time, and only for the binding with which it was recorded: another one's
    outputs stay as they were. The CUDA provider records one for each thread, TensorRT's one in all. A session
    that records takes no arrays of numpy's, as in ONNX Runtime 1.23.
    """

    def __init__(self, machine, model, options, providers, enable_fallback):
        assert not enable_fallback, "ONNX Runtime would print to stdout, and go on elsewhere"
        self.machine = machine
        self.providers = [entry if isinstance(entry, tuple) else (entry, {}) for entry in providers]
        self.on_gpu = self.providers[0][0] != "CPUExecutionProvider"
        if self.on_gpu:
            machine.allocate()
        machine.created.append(self)
        for name, settings in self.providers:
            if name in machine.failing:
                raise RuntimeError(f"{name} does not start")
            if name == "TensorrtExecutionProvider":
                machine.compile(settings)
                if "trt_profile_min_shapes" in settings and machine.splits(model):
                    raise RuntimeError("profiles are needed for each dynamic shape input of a part")
        self.real = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.records = any(
            settings.get(option) == "1"
            for _, settings in self.providers
            for option in ("enable_cuda_graph", "trt_cuda_graph_enable")
        )
        self.graphs, self.turn = {}, threading.Lock()

    def __getattr__(self, name):
        return getattr(self.real, name)

    def get_providers(self):
        return [*(name for name, _ in self.providers), "CPUExecutionProvider"]

    def io_binding(self):
        return FakeBinding(self.machine, self.real.io_binding())

    def run(self, names, feed):
        if self.on_gpu and self.records:
            raise RuntimeError("a session that records a CUDA graph cannot take numpy's arrays")
        return self.real.run(names, feed)

    def run_with_iobinding(self, binding):
        if not self.records:
            self.real.run_with_iobinding(binding.real)
            return
        if not self.turn.acquire(blocking=False):
            raise RuntimeError("a CUDA graph is replayed by two threads at once")
        try:
            one_in_all = self.providers[0][0] == "TensorrtExecutionProvider"
            thread = 0 if one_in_all else threading.get_ident()
            if thread not in self.graphs:
                with self.machine.recording():
                    self.real.run_with_iobinding(binding.real)
                self.graphs[thread] = binding
            self.real.run_with_iobinding(self.graphs[thread].real)
        finally:
            self.turn.release()

    def place(self, kind):
        """The provider that runs nodes of a kind: the first listed one that does not refuse it."""
        names = [name for name, _ in self.providers]
        return next((n for n in names if kind not in self.machine.refused.get(n, ())), "CPUExecutionProvider")

    def end_profiling(self):
        file = Path(self.real.end_profiling())
        events = json.loads(file.read_text())
        for event in events:
            if "provider" in event.get("args", {}):
                event["args"]["provider"] = self.place(event["args"]["op_name"])
        file.write_text(json.dumps(events))
        return str(file)


class FakeRecordingSession(FakeGpuSession):
    """The same on an ONNX Runtime that keeps a record of assignments."""

    def get_provider_graph_assignment_info(self):
        parts = self.real.get_provider_graph_assignment_info()
        return [
            SimpleNamespace(ep_name=self.place(node.op_type), get_nodes=lambda node=node: [node])
            for part in parts
            for node in part.get_nodes()
        ]


class FakeMachine:
    """onnxruntime as on a machine with an Orin GPU, CUDA and TensorRT 10.3.

    Attributes:
        available: providers of the build.
        refused: kinds of nodes, by provider, that it does not take.
        failing: providers that cannot start a session.
        broken: libraries, by provider (tensorrt, cuda), that cannot be loaded.
        driver: what the driver tells.
        version: of TensorRT.
        created: the sessions, in order.
        compiled: how many engines were compiled.
    """

    def __init__(self):
        self.available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
        self.refused, self.failing, self.broken = {}, set(), {}
        self.driver = Driver("540.4.0", "12.6", (ORIN,))
        self.version = (10, 3, 0)
        self.created, self.compiled = [], 0
        self._recorder = None
        records = hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")
        self.session_class = FakeRecordingSession if records else FakeGpuSession
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self._allocate)

    def __getattr__(self, name):
        return getattr(onnxruntime, name)

    def get_available_providers(self):
        return self.available

    def preload_dlls(self):
        print("Failed to load libcublas.so.13")

    @property
    def InferenceSession(self):  # noqa: N802 - ONNX Runtime's own name
        machine = self

        class Session(self.session_class):
            def __init__(self, model, options, providers, enable_fallback=1, disabled_optimizers=None):
                super().__init__(machine, model, options, providers, enable_fallback)

        return Session

    def compile(self, settings):
        engine = Path(settings["trt_engine_cache_path"]) / "engine_1_sm87.engine"
        if not engine.exists():
            self.compiled += 1
            engine.write_bytes(b"compiled")
        if "trt_ep_context_file_path" in settings:
            Path(settings["trt_ep_context_file_path"]).write_bytes(b"context")

    def allocate(self):
        if self._recorder not in (None, threading.get_ident()):
            raise RuntimeError("CUDA failure 900: operation not permitted when stream is capturing")

    def splits(self, model):
        """Whether TensorRT would take a part that does not begin at the model's input."""
        refused = self.refused.get("TensorrtExecutionProvider", ())
        try:
            kinds = [node.op_type in refused for node in onnx.load_from_string(model).graph.node]
        except Exception:  # no model; the session says so
            return False
        return True in kinds and False in kinds[kinds.index(True) :]

    @contextmanager
    def recording(self):
        self.allocate()
        self._recorder = threading.get_ident()
        time.sleep(0.02)  # long enough for whoever does not wait
        yield
        self._recorder = None

    def missing(self, provider):
        return [libraries.BrokenLibrary(name, f"{name}: not there") for name in self.broken.get(provider, ())]

    def require_device(self, device, index):
        """Memory is bound on a GPU on which a session was opened."""
        used = {session.providers[0][1]["device_id"] for session in list(self.created) if session.on_gpu}
        assert device == "cuda"
        assert str(index) in used

    def _allocate(self, shape, dtype, device, index):
        self.require_device(device, index)
        self.allocate()
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cpu", 0)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with a GPU; its attributes are there to be changed. Its cache is its own."""
    fake = FakeMachine()
    monkeypatch.setenv("EDGEPROOF_CACHE", str(tmp_path / "machine_cache"))
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(nvidia, "read_driver", lambda: fake.driver)
    monkeypatch.setattr(tensorrt, "tensorrt_version", lambda ort: fake.version)
    monkeypatch.setattr(opening, "cuda_version", lambda ort: "12.6")
    monkeypatch.setattr(
        base.ExecutionProvider,
        "broken_libraries",
        lambda provider, ort, load=None: fake.missing(provider.name),
    )

    def replay_here(bundle, request):
        """The real child has no stand-in for a GPU."""
        with monkeypatch.context() as patch:
            patch.setenv(tf32.OVERRIDE, "0")
            return replay(bundle, request)

    monkeypatch.setattr(exact_replay, "replay_in_child", replay_here)
    return fake
