import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime import testing
from edgeproof.runtime.errors import ImageError, InputError
from edgeproof.runtime.inference.runner import BadFrame, Prediction, Runner
from edgeproof.runtime.session.base import InferenceSession
from edgeproof.runtime.session.session import Session
from edgeproof.runtime.sources.video import ENDINGS
from edgeproof.runtime.testing import FakeSession, brightness, fake_bundle, fake_runner, memory


def test_the_example_in_its_docstring_holds():
    example = re.search(r"    def test_.*?\n\n", testing.__doc__ or "", re.DOTALL)
    assert example
    body = example[0].split("\n", 1)[1]
    source = "if True:\n" + body
    names = {"Image": Image, "ImageError": ImageError, "Prediction": Prediction, "BadFrame": BadFrame}
    exec(source, {**vars(testing), **names})  # noqa: S102 - our own docstring


def test_it_labels_by_brightness():
    with fake_runner(labels=("night", "dusk", "day")) as runner:
        samples = [Image.new("L", (20, 10), level) for level in (5, 128, 250)]
        assert [r.top[0].label for r in runner.stream(memory(samples))] == ["night", "dusk", "day"]
        assert runner.predict(samples[2]).top[0].label == "day"


def test_it_takes_tensors_where_it_has_no_preprocessing():
    with fake_runner(pictures=False) as runner:
        assert runner.predict(np.ones((3, 8, 8), np.float32)).top[0].label == "bright"
        with pytest.raises(InputError, match="takes tensors"):
            runner.predict(Image.new("L", (8, 8)))


@pytest.mark.parametrize("batch", [np.zeros((1, 3, 8, 9), np.float32), np.zeros((1, 3, 8, 8)), np.zeros(3)])
def test_it_refuses_what_a_session_refuses(bundle, batch):
    with Session(bundle.model_bytes("fp32")) as real:
        for session in (real, FakeSession(brightness(2))):
            with pytest.raises(InputError, match="does not fit the model"):
                session.run(batch)


def test_closed_it_takes_nothing_more():
    session = FakeSession(brightness(2))
    with Runner(fake_bundle(), session):
        pass
    assert session.closed
    with pytest.raises(InputError, match="is closed"):
        session.run(np.zeros((1, 3, 8, 8), np.float32))


def test_the_fake_and_the_real_session_are_alike(bundle):
    with Session(bundle.model_bytes("fp32")) as real:
        models: list[InferenceSession] = [real, FakeSession(brightness(2))]
        names = {name for name in dir(InferenceSession) if not name.startswith("_")}
        assert all(hasattr(model, name) for model in models for name in names)


def test_the_example_in_the_document_holds():
    document = (Path(__file__).resolve().parents[2] / "docs" / "running.md").read_text()
    library, fake = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    compile(library, "running.md", "exec")
    exec(fake, {})  # noqa: S102 - our own document


def test_the_document_names_every_video_ending():
    document = (Path(__file__).resolve().parents[2] / "docs" / "running.md").read_text()
    (listed,) = re.findall(r"frame of a video \((.*?)\)", document)
    assert {f".{name}" for name in re.findall(r"`(\w+)`", listed)} == ENDINGS
