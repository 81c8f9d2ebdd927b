"""`edgeproof sweep`: every combination once, whatever fails or kills it on the way."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from edgeproof.export.sweep import cell as cells
from edgeproof.export.sweep import run as running
from edgeproof.export.sweep.cell import kept_row
from edgeproof.export.sweep.plan import Plan, read_plan
from edgeproof.export.sweep.run import sweep
from edgeproof.export.sweep.show import text, write
from edgeproof.runtime import Bundle
from edgeproof.runtime.errors import InputError


@pytest.fixture
def plan(tiny_network) -> Plan:
    """Two combinations that work, and two that cannot."""
    return Plan(
        model=(tiny_network, "absent.py:build"),
        precisions=("fp32", "fp16"),
        data="digits",
        evaluation=40,
    )


# --- the file -----------------------------------------------------------------------------------------


def test_every_combination_is_a_cell(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(
        'model = ["a", "b"]\nprecisions = ["int8", "fp32,fp16"]\ntarget = ["cpu"]\nseed = [0, 1, 1]\n'
    )
    found = read_plan(file).cells()
    assert len(found) == len({each.name for each in found}) == 2 * 2 * 2
    assert found[0].precisions == ("fp32", "int8")
    assert {each.seed for each in found} == {0, 1}
    assert read_plan(file).cells() == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model = 3", "model"),
        ("", "model"),
        ('model = ["a"]\nspeed = 1', "speed is not known"),
        ('model = ["a"]\ntarget = ["tpu"]', "no target tpu"),
        ('model = ["a"]\nprecisions = ["fp8"]', "no precision fp8"),
        ('model = ["a"]\nseed = [1]\nweights = "a.pth"', "weights are given"),
        ('model = ["a"]\nevaluation = 1', "2 or more"),
        ("model = []", "0 combinations"),
        ("not toml", "no plan of a sweep"),
    ],
)
def test_a_file_that_no_sweep_could_do_is_refused(tmp_path, content, message):
    file = tmp_path / "plan.toml"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        read_plan(file)
    with pytest.raises(InputError, match="no plan of a sweep"):
        read_plan(tmp_path / "absent.toml")


# --- what is carried out ------------------------------------------------------------------------------


def test_what_works_is_measured_and_what_fails_is_a_row(plan, tmp_path):
    rows = sweep(plan, tmp_path)
    assert [row.cell for row in rows] == plan.cells()
    assert [bool(row.error) for row in rows] == [False, False, True, True]
    assert "absent.py" in rows[2].error
    assert rows[0].ship == "fp32"
    assert set(rows[1].precisions) == {"fp32", "fp16"}
    manifest = Bundle.open(tmp_path / rows[1].folder / "bundle").manifest
    assert rows[1].precisions["fp16"].value == manifest.models["fp16"].accuracy.value
    page = write(rows, tmp_path)
    assert f'href="{rows[1].folder}/bundle/report.html"' in page.read_text()
    assert len(json.loads((tmp_path / "sweep.json").read_text())) == 4
    shown = text(rows)
    assert "4 combinations, 2 failed" in shown
    assert "failed: There is no file" in shown


def test_a_sweep_that_was_killed_goes_on(plan, tmp_path, monkeypatch):
    real, calls = cells.run_cell, []

    def killed_in_the_second(cell, out):
        calls.append(cell)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(cell, out)

    monkeypatch.setattr(running, "run_cell", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        sweep(plan, tmp_path)
    rows = sweep(plan, tmp_path)
    assert calls == [plan.cells()[0], *plan.cells()[1:2], *plan.cells()[1:]]  # the first is not done again
    assert [bool(row.error) for row in rows] == [False, False, True, True]


def test_what_failed_is_tried_again_only_when_that_is_asked_for(plan, tmp_path, monkeypatch):
    only = replace(plan, model=plan.model[1:])
    sweep(only, tmp_path)
    calls = []
    monkeypatch.setattr(
        running, "run_cell", lambda cell, out: calls.append(cell) or cells.run_cell(cell, out)
    )
    sweep(only, tmp_path)
    assert calls == []
    sweep(only, tmp_path, again=True)
    assert calls == only.cells()


def test_a_row_of_another_plan_is_not_taken(plan, tmp_path):
    (first, *_) = plan.cells()
    (tmp_path / first.name).mkdir()
    (tmp_path / first.name / "row.json").write_text('{"cell": {}}')
    assert kept_row(first, tmp_path) is None


def test_a_seed_is_that_of_the_training(tmp_path):
    plan = Plan(model=("lenet",), precisions=("fp32",), data="digits", seed=(0, 1), evaluation=40)
    short = [replace(each) for each in plan.cells()]
    names = {each.name for each in short}
    assert len(names) == 2
    assert all("-seed" in name for name in names)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_seeds_give_two_networks(tmp_path):
    plan = Plan(model=("lenet",), precisions=("fp32",), data="digits", seed=(0, 1), evaluation=40)
    first, second = sweep(plan, tmp_path)
    assert (first.error, second.error) == ("", "")
    hashes = {
        Bundle.open(tmp_path / row.folder / "bundle").manifest.models["fp32"].sha256
        for row in (first, second)
    }
    assert len(hashes) == 2


# --- on Ray -------------------------------------------------------------------------------------------


@pytest.fixture
def cluster():
    """A local cluster of two workers."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_do_what_one_process_does(plan, tmp_path, cluster):
    alone = sweep(plan, tmp_path / "alone")
    both = sweep(plan, tmp_path / "both", ray="local")
    assert [row.precisions for row in both] == [row.precisions for row in alone]
    assert [bool(row.error) for row in both] == [bool(row.error) for row in alone]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_dies_leaves_a_row(plan, tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(running, "run_cell", lambda cell, out: os._exit(9))
    rows = sweep(replace(plan, model=plan.model[:1], precisions=("fp32",)), tmp_path, ray="local")
    assert [row.error.startswith("The worker ended") for row in rows] == [True]
    monkeypatch.undo()
    rows = sweep(replace(plan, model=plan.model[:1], precisions=("fp32",)), tmp_path)
    assert [row.error for row in rows] == [""]


def test_the_command(edgeproof, tiny_network, tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(f'model = ["{tiny_network}"]\nprecisions = ["fp16"]\ndata = "digits"\nevaluation = 40\n')
    done = edgeproof("sweep", file, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 combinations" in done.stdout
    assert (tmp_path / "out" / "sweep.html").is_file()
    file.write_text('model = ["absent.py:build"]\nprecisions = ["fp16"]\n')
    done = edgeproof("sweep", file, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "failed: " in done.stdout
