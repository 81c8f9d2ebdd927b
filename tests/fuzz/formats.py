"""The formats that edgeproof reads from strangers: files to start from, and the code that reads them.

A reader takes the bytes of one file and may raise EdgeproofError, and nothing else. It must not run what is
in the file, take five seconds, or hold a gigabyte.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mutate
import numpy as np
import onnx
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from onnx import TensorProto
from PIL import Image
from safetensors.torch import save

from edgeproof.calibration.dataset.tensor_file import open_tensor
from edgeproof.calibration.onnx_graph.read import read_onnx
from edgeproof.calibration.ranges.trt_cache import read_calibration_cache
from edgeproof.export.data import coco, imagefolder, voc
from edgeproof.export.pretrained.state_dict import read_weights
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.manifest import manifest_sha256, parse_manifest
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.errors import EdgeproofError
from edgeproof.runtime.records import decode
from edgeproof.runtime.session.session import Session
from edgeproof.runtime.signing.keys import read_private_key, read_public_key
from edgeproof.runtime.signing.signature import require_signature, sign
from edgeproof.runtime.sources.readers import read_image, read_tensors

SEEDS = Path(__file__).with_name("seeds")
BUNDLE = SEEDS / "bundle"
CACHE = b"TRT-8601-EntropyCalibration2\ninput: 3caa9f2b\nconv1: 3d00a1b2\n"
CLASS_INDICES = (b'{"ant": 0, "bee": 1}', b'{"0": ["n1", "ant"], "1": ["n2", "bee"]}')

Read = Callable[[bytes], object]
Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: of the format, and of its folder in corpus/.
        seeds: good files.
        read: reads one file; what it gives is not looked at.
        mutate: damages a file.
    """

    name: str
    seeds: tuple[bytes, ...]
    read: Read
    mutate: Mutate = mutate.mutated_bytes


def formats(folder: Path) -> list[Format]:
    """All formats.

    Args:
        folder: an empty one, to which readers that take files write them.
    """
    marker = folder / "code was run"

    def file(name: str, read: Callable[[Path], object]) -> Read:
        return _file_reader(folder, name, read)

    return [
        Format("manifest", (_manifest(),), _read_manifest, _mutated_manifest),
        Format("golden", _golden_seeds(), _golden_reader(folder)),
        Format("signature", (_signature(folder),), _signature_reader(folder), mutate.mutated_json),
        Format("preprocess", (_preprocess(),), _read_preprocess, mutate.mutated_json),
        Format("onnx", _onnx_seeds(), file("model.onnx", read_onnx)),
        Format("session", _onnx_seeds()[:1], lambda data: Session(data).close()),
        Format("picture", _pictures(), file("picture", read_image)),
        Format("tensor", _arrays(), file("a.npy", _sum_tensors)),
        Format("calibration", _arrays(), file("inputs", _read_calibration)),
        Format("cache", (CACHE,), file("a.cache", lambda path: read_calibration_cache(path, ["input"]))),
        Format("checkpoint", _checkpoints(marker), _watched(marker, file("a.pth", read_weights))),
        Format("safetensors", (_safetensors(),), file("a.safetensors", read_weights)),
        Format("class_index", CLASS_INDICES, _image_folder_reader(folder), mutate.mutated_json),
        Format("coco", (_coco(),), _coco_reader(folder), mutate.mutated_json),
        Format("voc", (_VOC,), _voc_reader(folder)),
    ]


def _file_reader(folder: Path, name: str, read: Callable[[Path], object]) -> Read:
    path = folder / name

    def through_a_file(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return through_a_file


# --- the bundle -----------------------------------------------------------------------------------------


def _manifest() -> bytes:
    return (BUNDLE / "manifest.json").read_bytes()


def _mutated_manifest(seed: bytes, chance: random.Random) -> bytes:
    """With the hash of what it now says, mostly: without it nothing behind the hash would be reached."""
    data = mutate.mutated_json(seed, chance)
    try:
        value = json.loads(data)
        if chance.random() < 0.9:
            value["sha256"] = manifest_sha256(value)
        return json.dumps(value).encode()
    except (ValueError, TypeError, UnicodeEncodeError):
        return data


def _read_manifest(data: bytes) -> object:
    return parse_manifest(data.decode("utf-8", errors="surrogateescape"))


def _golden_seeds() -> tuple[bytes, ...]:
    huge = io.BytesIO()
    with zipfile.ZipFile(huge, "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 3, 8, 8)}
        )
        archive.writestr("input.npy", header.getvalue())
        archive.writestr("output.npy", b"\x00" * (1 << 22))
    pickled = io.BytesIO()
    np.savez(pickled, input=np.array([{}], dtype=object), output=np.zeros(3))
    return ((BUNDLE / "golden.npz").read_bytes(), huge.getvalue(), pickled.getvalue())


def _golden_reader(folder: Path) -> Read:
    """With a manifest that vouches for the file."""
    target = folder / "bundle"
    shutil.copytree(BUNDLE, target)
    manifest = json.loads(_manifest())

    def read(data: bytes) -> object:
        (target / "golden.npz").write_bytes(data)
        manifest["golden"].update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
        manifest["sha256"] = manifest_sha256(manifest)
        (target / "manifest.json").write_text(json.dumps(manifest))
        return Bundle.open(target).golden()

    return read


def _key_files(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def _signature(folder: Path) -> bytes:
    target = folder / "signed"
    shutil.copytree(BUNDLE, target)
    private, _ = _key_files(folder)
    return sign(Bundle.open(target), read_private_key(private)).read_bytes()


def _signature_reader(folder: Path) -> Read:
    bundle = Bundle.open(folder / "signed")
    keys = [read_public_key(folder / "public.pem")]

    def read(data: bytes) -> object:
        (bundle.folder / "model.sig").write_bytes(data)
        return require_signature(bundle, keys)

    return read


def _preprocess() -> bytes:
    return json.dumps(json.loads(_manifest())["preprocess"]).encode()


def _read_preprocess(data: bytes) -> object:
    try:
        return decode(Preprocess, json.loads(data))
    except ValueError:  # which the callers of `decode` turn into an error of their own
        return None


# --- models and weights ---------------------------------------------------------------------------------


def _onnx_seeds() -> tuple[bytes, ...]:
    model = (BUNDLE / "model.fp32.onnx").read_bytes()
    outside = onnx.load_model_from_string(model)
    (tensor,) = [each for each in outside.graph.initializer if each.name == "bias"]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../etc/passwd"), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    giant = onnx.load_model_from_string(model)
    giant.graph.initializer[0].dims[:] = [2**40, 2**20]
    return (model, outside.SerializeToString(), giant.SerializeToString(), _deep(20), _deep(1000))


def _deep(levels: int) -> bytes:
    """A graph in an attribute of a node of a graph, and so on, deeper than any reader goes."""
    graph = b""
    for _ in range(levels):
        for field in (6, 5, 1):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            graph = _message(field, graph)
    return _message(7, graph)  # ModelProto.graph


def _message(field: int, content: bytes) -> bytes:
    """A protobuf field that holds a message."""
    size, length = len(content), b""
    while size >= 128:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + content


class _Runs:
    """What a hostile pickle holds: a call, of which there must be no trace."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self._marker), "w")


def _safetensors() -> bytes:
    return save({"a": torch.zeros(2, 3), "b": torch.ones(4)})


def _checkpoints(marker: Path) -> tuple[bytes, ...]:
    good, hostile = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(2, 3), "b": torch.ones(4)}}, good)
    torch.save({"a": _Runs(marker)}, hostile)
    return (good.getvalue(), hostile.getvalue(), pickle.dumps(_Runs(marker)))


def _watched(marker: Path, read: Read) -> Read:
    def then_look(data: bytes) -> object:
        try:
            return read(data)
        finally:
            if marker.exists():
                marker.unlink()
                raise AssertionError("what was in the file was run")

    return then_look


def _sum_tensors(path: Path) -> object:
    return np.sum(read_tensors(path, (3, 4), "float32"))


def _read_calibration(path: Path) -> object:
    tensor = open_tensor(path, ("input",))
    return tensor(np.arange(min(len(tensor), 2)))


# --- pictures, tensors, labels --------------------------------------------------------------------------


def _pictures() -> tuple[bytes, ...]:
    random_state = np.random.default_rng(0)
    image = Image.fromarray(random_state.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    files = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000"):
        stream = io.BytesIO()
        image.save(stream, kind)
        files.append(stream.getvalue())
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    return (*files, eps, b"P6 60000 60000 255\n")


def _arrays() -> tuple[bytes, ...]:
    files = []
    for shape in ((2, 3, 4), (3, 4), (0, 3, 4)):
        stream = io.BytesIO()
        np.save(stream, np.zeros(shape, np.float32))
        files.append(stream.getvalue())
    pickled, several = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([{}, None], dtype=object))
    np.savez(several, input=np.zeros((2, 3, 4), np.float32), other=np.zeros(1))
    return (*files, pickled.getvalue(), several.getvalue())


def _image_folder_reader(folder: Path) -> Read:
    root = folder / "pictures"
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for i in range(4):
            (root / name / f"{i}.png").write_bytes((BUNDLE / "golden-0.png").read_bytes())
    return _file_reader(root, "class_index.json", lambda path: imagefolder.load(path.parent))


def _coco() -> bytes:
    boxes = [
        {"id": i, "image_id": i, "category_id": 7, "bbox": [1, 1, 5, 6], "area": 30, "iscrowd": 0,
         "segmentation": [[1, 1, 6, 1, 6, 7]]}
        for i in range(1, 9)
    ]  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": 17, "height": 14} for i in range(1, 9)]
    return json.dumps(
        {"images": images, "annotations": boxes, "categories": [{"id": 7, "name": "ant"}]}
    ).encode()


def _coco_reader(folder: Path) -> Read:
    root = folder / "coco"
    for part in ("annotations", "val2017"):
        (root / part).mkdir(parents=True)
    for i in range(1, 9):
        (root / "val2017" / f"{i}.png").write_bytes((BUNDLE / "golden-0.png").read_bytes())

    def read(path: Path) -> object:
        found = [coco.load(root, task).evaluation for task in ("detection", "segmentation")]
        return [part.labels[i] for part in found for i in range(len(part))]

    return _file_reader(root / "annotations", "instances_val2017.json", read)


_VOC = b"""<annotation><filename>1.jpg</filename>
<size><width>17</width><height>14</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>
<xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>
"""


def _voc_reader(folder: Path) -> Read:
    root = folder / "voc"
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    (root / "ImageSets" / "Main" / "val.txt").write_text("".join(f"{i}\n" for i in range(1, 9)))
    for i in range(1, 9):
        (root / "JPEGImages" / f"{i}.jpg").write_bytes((BUNDLE / "golden-1.jpg").read_bytes())
        (root / "Annotations" / f"{i}.xml").write_bytes(_VOC)

    def read(path: Path) -> object:
        data = voc.load(root, "detection")
        return [data.evaluation.labels[i] for i in range(len(data.evaluation))]

    return _file_reader(root / "Annotations", "1.xml", read)


ALLOWED = EdgeproofError
