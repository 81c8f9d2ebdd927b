"""The real case: the user's own checkpoint and real photographs. Runs where the files are present."""

import json

import pytest
import torch
from PIL import Image
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from edgeproof.export.pipeline import ExportRequest, export_bundle


@pytest.fixture(scope="module")
def bundle(shared_data, tmp_path_factory, progress):
    request = ExportRequest(
        model="mobilenet_v2",
        weights=str(shared_data / "mobilenet_v2-b0353104.pth"),
        data=f"imagefolder:{shared_data / 'imagenet-sample'}",
        out=tmp_path_factory.mktemp("photographs") / "mobilenet_v2",
        evaluation=100,
    )
    return export_bundle(request, progress)


@pytest.mark.slow
def test_fp32_parity_on_photographs(bundle):
    parity = bundle.manifest.models["fp32"].parity
    assert parity.sqnr_db >= 90
    assert parity.top1_agreement == 1


@pytest.mark.slow
def test_calibration_and_judges_are_apart(bundle):
    assert bundle.manifest.data["calibration"]["count"] == 128
    assert bundle.manifest.data["evaluation"]["count"] == 100
    assert bundle.manifest.models["fp32"].accuracy.top1 > 75


@pytest.mark.slow
def test_run_labels_photographs_as_pytorch_does(bundle, shared_data, edgeproof):
    pictures = sorted((shared_data / "imagenet-sample").glob("*/*.jpeg"))[:40]
    done = edgeproof("run", bundle.folder, "--precision", "fp32", *pictures)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    weights = MobileNet_V2_Weights.IMAGENET1K_V1
    network = mobilenet_v2()
    state = torch.load(shared_data / "mobilenet_v2-b0353104.pth", weights_only=True)
    network.load_state_dict(state)
    network.eval()
    transforms, names = weights.transforms(), weights.meta["categories"]
    for picture, record in zip(pictures, records, strict=True):
        with torch.inference_mode(), Image.open(picture) as image:
            chances = network(transforms(image.convert("RGB"))[None]).softmax(1)[0]
        best = int(chances.argmax())
        assert record["source"] == str(picture)
        assert (record["top"][0]["index"], record["top"][0]["label"]) == (best, names[best])
        assert record["top"][0]["probability"] == pytest.approx(float(chances[best]), abs=1e-4)
