import dataclasses
import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeproof.runtime.bench import report as bench_report
from edgeproof.runtime.bench.bench import BenchmarkPlan, bench, parse_batches, parse_requests
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.device.jetson import Clock, PowerMode
from edgeproof.runtime.device.power import Reading
from edgeproof.runtime.errors import InputError, MissingDependency, ModelError, OutputError, PlacementError
from edgeproof.runtime.providers.request import EngineOptions, ProviderRequest
from edgeproof.runtime.records import encode
from edgeproof.runtime.session.session import Session

CPU = ProviderRequest("cpu", "fp32")
CUDA = ProviderRequest("cuda", "fp32")
TENSORRT = ProviderRequest("tensorrt", "fp16")
TICK = 0.001


class FakeClock:
    """Time that passes only by being asked for, a millisecond at a time."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += TICK
        return self.now


def no_sensors():
    return Reading({}, {})


def measure(bundle, *requests, batches=(1,), warm_up=0.01, duration=0.5, clock=None, sensors=no_sensors):
    plan = BenchmarkPlan(requests, batches, warm_up, duration)
    return bench(bundle, plan, clock=clock or FakeClock(), sensors=sensors)


def by_request(report):
    return [(m.wanted, m.precision, m.batch) for m in report.measurements]


# --- what is measured ---------------------------------------------------------------------------------


def test_on_the_cpu_all_of_the_latency_is_the_providers(bundle):
    (found,) = measure(bundle, CPU).measurements
    assert found.latency.p50 == pytest.approx(1000 * TICK)
    assert (found.copy_ms, found.device_ms) == (0.0, pytest.approx(1000 * TICK))
    assert found.provider == "cpu"
    assert not found.fallback
    assert found.ratios is None


def test_on_a_device_copies_and_computing_are_told_apart(machine, bundle):
    (found,) = measure(bundle, CUDA).measurements
    assert found.provider == "cuda"
    assert found.copy_ms == pytest.approx(2000 * TICK)  # there, and back
    assert found.device_ms == pytest.approx(1000 * TICK)
    assert found.latency.p50 == pytest.approx(3000 * TICK)


def test_throughput_counts_pictures_over_all_the_time_that_passed(bundle):
    one, four = measure(bundle, CPU, batches=(1, 4)).measurements
    assert one.throughput == pytest.approx(1 / (3 * TICK))  # two looks at the clock a run, one between two
    assert four.throughput == pytest.approx(4 * one.throughput)


def test_preprocessing_is_told_for_a_batch(bundle):
    one, four = measure(bundle, CPU, batches=(1, 4)).measurements
    assert one.preprocess_ms == pytest.approx(1000 * TICK)
    assert four.preprocess_ms == pytest.approx(4000 * TICK)


def test_a_bundle_that_takes_tensors_has_no_preprocessing(bundle):
    bare = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, preprocess=None))
    (found,) = measure(bare, CPU).measurements
    assert found.preprocess_ms is None


def test_what_is_timed_is_the_session_that_a_runner_uses(machine, bundle, monkeypatch):
    """A runner's session would notice a slower `Session.run`; so must the benchmark."""
    original, clock = Session.run, FakeClock()

    def slow(self, *arguments):
        clock.now += 1000 * TICK
        return original(self, *arguments)

    monkeypatch.setattr(Session, "run", slow)
    for found in measure(bundle, CPU, CUDA, clock=clock, duration=20).measurements:
        assert found.latency.least > 1000


def test_every_batch_has_an_engine_compiled_for_it(machine, bundle):
    measure(bundle, TENSORRT, batches=(1, 4))
    shapes = [session.providers[0][1].get("trt_profile_opt_shapes") for session in machine.created]
    assert shapes.count("input:1x3x8x8") >= 1
    assert shapes.count("input:4x3x8x8") >= 1
    assert machine.compiled == 2


def test_an_engine_of_build_serves_batch_one(machine, bundle):
    from edgeproof.runtime.session.build import build

    build(bundle, ProviderRequest("tensorrt", "fp16"))
    measure(bundle, TENSORRT)
    assert machine.compiled == 1


def test_what_is_compared_stands_side_by_side_with_ratios_to_the_first(machine, bundle):
    report = measure(bundle, CPU, CUDA, batches=(1, 2))
    assert by_request(report) == [
        ("cpu", "fp32", 1),
        ("cuda", "fp32", 1),
        ("cpu", "fp32", 2),
        ("cuda", "fp32", 2),
    ]
    first, second = report.measurements[:2]
    assert first.ratios is None
    assert second.ratios.throughput == pytest.approx(second.throughput / first.throughput)
    assert second.ratios.p50 == pytest.approx(3.0)
    assert second.ratios.joules is None


def test_rivals_meet_the_same_weather(bundle):
    class Drifting(FakeClock):
        """A machine that becomes ten times slower half-way."""

        def __call__(self):
            self.now += TICK if self.now < 1.0 else 10 * TICK
            return self.now

    report = measure(bundle, CPU, CPU, duration=1.0, clock=Drifting())
    assert 0.5 < report.measurements[1].ratios.throughput < 2


def test_energy_is_told_where_the_board_has_sensors(bundle):
    def sensors():
        return Reading({"VDD_IN": 6.0}, {"tj-thermal": 55.0})

    report = measure(bundle, CPU, CPU, sensors=sensors)
    first, second = report.measurements
    assert first.power.source == "VDD_IN"
    assert first.power.joules == pytest.approx(6.0 / first.throughput)
    assert first.celsius == 55.0
    assert second.ratios.joules == pytest.approx(1 / second.ratios.throughput)
    assert "energy" in bench_report.text(report)


def test_a_slow_model_is_still_measured_more_than_once(bundle):
    (found,) = measure(bundle, CPU, duration=1e-9).measurements
    assert found.latency.samples >= 10
    assert found.latency.p99_9 is None


def test_a_fallback_is_told(machine, bundle):
    machine.available = ["CPUExecutionProvider"]
    report = measure(bundle, dataclasses.replace(CUDA, allow_fallback=True))
    (found,) = report.measurements
    assert (found.wanted, found.provider, found.fallback) == ("cuda", "cpu", True)
    assert "cpu*" in bench_report.text(report)


# --- what is refused ----------------------------------------------------------------------------------


def test_a_provider_that_is_not_there_is_an_error(machine, bundle):
    machine.available = ["CPUExecutionProvider"]
    with pytest.raises(PlacementError):
        measure(bundle, CPU, CUDA)


def test_a_precision_that_the_bundle_lacks_is_told_before_anything_runs(bundle):
    with pytest.raises(InputError, match="holds no int8 model"):
        measure(bundle, CPU, ProviderRequest("cpu", "int8"), clock=lambda: pytest.fail("it ran"))


def test_a_model_of_a_fixed_batch_takes_no_other(bundle_folder, replace_file, tiny_model):
    import onnx

    model = onnx.load_from_string(tiny_model())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    replace_file(bundle_folder, "model.fp32.onnx", model.SerializeToString())
    fixed = Bundle.open(bundle_folder)
    assert measure(fixed, CPU).measurements
    with pytest.raises(InputError, match="batch is fixed"):
        measure(fixed, CPU, batches=(2,))


def test_a_failure_while_it_runs_is_the_models(machine, bundle, monkeypatch):
    def fail(self, binding):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(machine.session_class, "run_with_iobinding", fail)
    with pytest.raises(ModelError, match="out of memory"):
        measure(bundle, CUDA, batches=(64,))


@pytest.mark.parametrize(
    "changes",
    [
        {"requests": ()},
        {"batches": ()},
        {"batches": (0,)},
        {"batches": (1, 1)},
        {"warm_up": -1.0},
        {"warm_up": float("nan")},
        {"duration": 0.0},
        {"duration": float("inf")},
    ],
)
def test_a_plan_without_sense_is_refused(changes):
    with pytest.raises(InputError):
        BenchmarkPlan(**{"requests": (CPU,), **changes})


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_batches_are_read_as_they_are_written(sizes):
    assert parse_batches(",".join(map(str, sizes))) == tuple(sizes)
    assert parse_batches(" , ".join(map(str, sizes))) == tuple(sizes)


@pytest.mark.parametrize("text", ["", "1,", "1;2", "-1", "1.5", "two", "²"])
def test_what_is_no_list_of_batches_is_refused(text):
    with pytest.raises(InputError, match="no list of numbers"):
        parse_batches(text)


def test_rivals_are_like_the_base_in_all_else():
    base = ProviderRequest("cuda", "fp32", device=1, engine=EngineOptions(cuda_graph=True))
    first, second = parse_requests("cuda:fp16, tensorrt:int8", base)
    assert first == dataclasses.replace(base, precision="fp16")
    assert second == dataclasses.replace(base, provider="tensorrt", precision="int8")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no list of providers"),
        ("cpu", "no list of providers"),
        ("cpu:fp32,", "no list of providers"),
        ("tpu:fp32", "no provider 'tpu'"),
        ("cpu:fp8", "no precision 'fp8'"),
        ("cpu:", "no precision ''"),
    ],
)
def test_what_cannot_be_compared_is_refused(text, reason):
    with pytest.raises(InputError, match=reason):
        parse_requests(text, CPU)


def test_a_rival_that_the_bases_options_exclude_is_refused():
    with pytest.raises(InputError, match="no CUDA graph"):
        parse_requests("cpu:fp32", ProviderRequest("cuda", engine=EngineOptions(cuda_graph=True)))


# --- how it is told -----------------------------------------------------------------------------------


def test_the_table_leaves_out_what_is_not_known(bundle):
    table = bench_report.text(measure(bundle, CPU, duration=0.2))
    assert "p50" in table
    assert not {"p99.9", "W", "°C", "mJ"} & set(table.split())


def test_the_table_names_the_power_mode_and_clocks_that_move(bundle):
    report = measure(bundle, CPU)
    moving = Clock("GPU", 306_000_000, 306_000_000, 1_020_000_000)
    hot = dataclasses.replace(report, power_mode=PowerMode(1, "25W"), clocks=(moving,))
    assert "power mode 1 (25W)" in bench_report.text(hot)
    assert "sudo jetson_clocks" in bench_report.text(hot)
    assert "jetson_clocks" not in bench_report.text(report)


def test_an_int8_that_is_slower_than_float_is_said(bundle):
    report = measure(bundle, CPU)
    (found,) = report.measurements
    int8 = dataclasses.replace(found, precision="int8", throughput=0.5 * found.throughput)
    both = dataclasses.replace(report, measurements=(found, int8))
    assert f"INT8 is slower than {found.precision} on cpu at batch 1: 0.50 times" in bench_report.text(both)
    fast = dataclasses.replace(int8, throughput=2 * found.throughput)
    other_batch = dataclasses.replace(int8, batch=8)
    for quiet in ((found, fast), (found, other_batch), (int8,)):
        assert "slower" not in bench_report.text(dataclasses.replace(report, measurements=quiet))


def test_the_report_is_plain_json(machine, bundle):
    report = measure(bundle, CPU, CUDA)
    value = json.loads(json.dumps(encode(report), allow_nan=False))
    assert [m["provider"] for m in value["measurements"]] == ["cpu", "cuda"]
    assert value["measurements"][0]["latency"]["p99_9"] is None


def test_the_plot_is_a_picture(machine, bundle, tmp_path):
    bench_report.plot(measure(bundle, CPU, CUDA, CPU, batches=(4, 1)), tmp_path / "bench.png")
    with Image.open(tmp_path / "bench.png") as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 1
    assert [path.name for path in tmp_path.glob("*.part")] == []


@pytest.mark.parametrize("name", ["bench.jpg", "bench", "folder.png"])
def test_a_plot_that_is_no_png_is_refused(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="cannot be drawn"):
        bench_report.ensure_can_plot(tmp_path / name)


def test_a_missing_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependency, match=r"needs matplotlib.*not installed"):
        bench_report.ensure_can_plot(tmp_path / "bench.png")


def test_a_plot_with_no_place_is_an_error(bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        bench_report.plot(measure(bundle, CPU), tmp_path / "file" / "bench.png")


# --- the command --------------------------------------------------------------------------------------

SHORT = ("--warm-up", 0, "--duration", 0.05)


def test_the_command_prints_a_table_and_draws(edgeproof, bundle_folder, tmp_path):
    plot = tmp_path / "bench.png"
    done = edgeproof(
        *("bench", bundle_folder, *SHORT, "--precision", "fp16"),
        *("--batch", "1,2", "--compare", "cpu:fp32", "--plot", plot),
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split()[:3] for line in done.stdout.splitlines() if line.lstrip().startswith("cpu")]
    assert rows == [["cpu", p, b] for b in ("1", "2") for p in ("fp16", "fp32")]
    assert plot.exists()


def test_the_command_prints_json(edgeproof, bundle_folder):
    done = edgeproof("bench", bundle_folder, *SHORT, "--precision", "fp32", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["measurements"]
    assert found["latency"]["samples"] >= 10
    assert found["throughput"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--provider", "tpu"), "There is no provider 'tpu'"),
        (("--precision", "int8"), "holds no int8 model"),
        (("--batch", "0"), "cannot be measured"),
        (("--duration", "0"), "duration must be a finite number of seconds above 0"),
        (("--compare", "cpu"), "--compare cpu:int8,cuda:fp16"),
        (("--plot", "bench.gif"), "ends in .png"),
    ],
)
def test_the_command_refuses_what_cannot_be_measured(edgeproof, bundle_folder, arguments, message):
    done = edgeproof("bench", bundle_folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
