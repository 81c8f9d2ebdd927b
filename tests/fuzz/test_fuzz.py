"""Damaged files of every format: nothing but edgeproof's own errors may come of them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

CASES = 150  # a format; `make fuzz` reads them by the hundred thousand


@pytest.fixture(scope="module")
def forms(script, tmp_path_factory):
    """The formats by name."""
    found = script("tests/fuzz/formats.py").formats(tmp_path_factory.mktemp("fuzz"))
    return {form.name: form for form in found}


@pytest.fixture(scope="module")
def fuzzing(script):
    return script("tests/fuzz/fuzzing.py")


NAMES = (
    *("manifest", "golden", "signature", "preprocess", "onnx", "session", "picture", "tensor", "calibration"),
    *("cache", "checkpoint", "safetensors", "class_index", "coco", "voc"),
)


def test_every_format_is_tried(forms):
    assert tuple(forms) == NAMES


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused_or_read(forms, fuzzing, name):
    form = forms[name]

    @settings(max_examples=CASES, database=None)
    @given(st.integers(0, 2**32), st.sampled_from(range(len(form.seeds))))
    def try_one(number, seed):
        data = form.mutate(form.seeds[seed], random.Random(number))  # noqa: S311 - it must be the same again
        _, finding = fuzzing.examine(form, data)
        assert not finding

    try_one()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_what_was_once_found_stays_mended(forms, fuzzing, name):
    for path in sorted((fuzzing.CORPUS / name).glob("*")):
        assert fuzzing.examine(forms[name], path.read_bytes())[1] == "", path


@pytest.mark.parametrize("name", NAMES)
def test_the_first_seed_is_a_good_file(forms, name):
    """Else the damages would be tried on something that is refused anyway."""
    forms[name].read(forms[name].seeds[0])


def test_a_finding_is_kept_and_named(fuzzing, forms, tmp_path, monkeypatch):
    def broken(data):
        raise ZeroDivisionError

    monkeypatch.setattr(fuzzing, "CORPUS", tmp_path)
    form = type(forms["cache"])("cache", (b"",), broken)
    refused, finding = fuzzing.examine(form, b"data")
    assert not refused
    assert finding.startswith("ZeroDivisionError in test_fuzz.py")
    assert (tmp_path / fuzzing.keep("cache", b"data")).read_bytes() == b"data"


def test_a_case_that_takes_too_long_is_a_finding(fuzzing, forms, monkeypatch):
    import signal
    import time

    monkeypatch.setattr(fuzzing, "MOST_SECONDS", 0.05)
    before = signal.signal(signal.SIGALRM, fuzzing.too_long)
    try:
        slow = type(forms["cache"])("cache", (b"",), lambda data: time.sleep(5))
        assert fuzzing.examine(slow, b"")[1].startswith("longer than")
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
def test_a_guided_run_finds_what_is_wrong_and_ends(script, monkeypatch):
    """In a process of its own, as libFuzzer ends the one that it is in."""
    pytest.importorskip("atheris")
    outcome = script("tests/fuzz/guided.py").in_a_process("cache", 2)
    assert outcome["findings"] == []
    assert outcome["cases"] > 10
