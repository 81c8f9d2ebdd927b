"""`imagefolder:DIR`: whatever is wrong with the user's folder is said."""

import json

import pytest

from edgeproof.export.data import catalog
from edgeproof.runtime.errors import DataError


def test_flat_imagefolder(tmp_path, fill, fingerprints):
    fill(tmp_path, ["cat", "dog", "eel"])
    data = catalog.find(f"imagefolder:{tmp_path}")
    assert data.labels == ("cat", "dog", "eel")
    assert data.train is None
    assert (len(data.calibration), len(data.evaluation)) == (6, 12)
    assert not set(fingerprints(data.calibration)) & set(fingerprints(data.evaluation))


def test_pictures_in_folders_of_a_class_folder_are_of_that_class(tmp_path, fill):
    fill(tmp_path, ["cat", "dog"])
    fill(tmp_path / "cat" / "2024", ["january", "february"])
    data = catalog.find(f"imagefolder:{tmp_path}")
    labels = [*data.calibration.labels, *data.evaluation.labels]
    assert data.labels == ("cat", "dog")
    assert (labels.count(0), labels.count(1)) == (3 * 6, 6)


def test_folders_of_other_programs_are_no_classes(tmp_path, fill):
    fill(tmp_path, ["cat", "dog", ".ipynb_checkpoints", "__MACOSX"])
    fill(tmp_path / "cat", [".ipynb_checkpoints"])
    data = catalog.find(f"imagefolder:{tmp_path}")
    assert data.labels == ("cat", "dog")
    assert len(data.calibration) + len(data.evaluation) == 2 * 6


def test_imagefolder_with_train_and_val(tmp_path, fill):
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path / "val", ["cat", "dog"], count=2)
    data = catalog.find(f"imagefolder:{tmp_path}")
    assert (len(data.train), len(data.calibration), len(data.evaluation)) == (12, 12, 4)


def test_val_must_not_hold_classes_of_its_own(tmp_path, fill):
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path / "val", ["cat", "eel"])
    with pytest.raises(DataError, match="eel"):
        catalog.find(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize(
    "index",
    [{"cat": 2, "dog": 0, "eel": 1}, {"2": ["cat", "Cat"], "0": ["dog", "Dog"], "1": ["eel", "Eel"]}],
)
def test_class_index_maps_folders_to_the_models_classes(tmp_path, fill, index):
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "class_index.json").write_text(json.dumps(index))
    data = catalog.find(f"imagefolder:{tmp_path}")
    assert [label.lower() for label in data.labels] == ["dog", "eel", "cat"]
    assert set(data.evaluation.labels) == {0, 2}


@pytest.mark.parametrize(
    "index",
    ["[]", "{}", "nonsense", '{"cat": 0, "dog": 5}', '{"cat": 0}', '{"cat": "x", "dog": 1}', '{"cat": true}'],
)
def test_bad_class_index(tmp_path, fill, index):
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "class_index.json").write_text(index)
    with pytest.raises(DataError, match=r"class_index\.json"):
        catalog.find(f"imagefolder:{tmp_path}")


def test_imagenets_thousand_folders_get_imagenets_names(tmp_path, fill):
    index = {f"n{i:08d}": i for i in range(1000)}
    fill(tmp_path, ["n00000207", "n00000208"], count=3)
    (tmp_path / "class_index.json").write_text(json.dumps(index))
    assert catalog.find(f"imagefolder:{tmp_path}").labels[207] == "golden retriever"


def test_absent_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        catalog.find(f"imagefolder:{tmp_path / 'absent'}")
    with pytest.raises(DataError, match="no class folders"):
        catalog.find(f"imagefolder:{tmp_path}")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        catalog.find(f"imagefolder:{tmp_path}")


def test_a_damaged_picture_is_never_skipped_silently(tmp_path, fill):
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "cat" / "0.png").write_bytes(b"rubbish")
    data = catalog.find(f"imagefolder:{tmp_path}")
    preprocess = data.preprocess((3, 32, 32))
    with pytest.raises(DataError, match=r"0\.png"):
        [split.tensor(preprocess) for split in (data.calibration, data.evaluation)]
