"""`edgeproof train` of each task: one short epoch of a few scenes, measured by the task's own metric."""

import pytest

from edgeproof.export.training.run import TrainRequest, train_model


@pytest.mark.parametrize(
    ("model", "metric"),
    [
        ("lraspp_mobilenet_v3_large", "mIoU"),
        ("ssdlite320_mobilenet_v3_large", "mAP@0.5"),
    ],
)
def test_a_short_training_is_measured_by_the_tasks_metric(model, metric, tmp_path, monkeypatch):
    from edgeproof.export.data import digit_scenes

    monkeypatch.setattr(digit_scenes, "EVALUATION_SCENES", 8)
    out = tmp_path / "training"
    training = train_model(TrainRequest(model, samples=16, recipe={"epochs": 1, "batch": 8}, out=out))
    assert training.history.result.metric == metric
    assert 0 <= training.history.result.score <= 100
    assert training.history.result.held_out == 8
    assert training.history.epochs[0].loss > 0
    assert f"{metric} on 8 held-out samples" in training.summary()
    assert (out / "weights.safetensors").is_file()
