import pytest

from edgeproof.runtime.device.jetson import (
    Clock,
    PowerMode,
    board,
    clock_state,
    clocks,
    dla_cores,
    is_jetson,
    jetpack_version,
    l4t_version,
    package_version,
    power_mode,
)


def put(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


ORIN = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "var/lib/dpkg/status": (
        "Package: nvidia-jetpack-dev\nStatus: install ok installed\nVersion: 1.0\n\n"
        "Package: nvidia-jetpack\nStatus: install ok installed\nArchitecture: arm64\nVersion: 6.2+b77\n\n"
        "Package: libnvinfer10\nStatus: deinstall ok config-files\nVersion: 10.3.0.30-1+cuda12.5\n"
    ),
    "var/lib/nvpmodel/status": "pmode:0002",
    "etc/nvpmodel.conf": (
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=2 >\n"
    ),
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
    "sys/class/devfreq/15340000.vic/min_freq": "115200000\n",
    "sys/class/devfreq/15340000.vic/max_freq": "435200000\n",
    "sys/devices/system/cpu/cpufreq/policy0/related_cpus": "0 1 2 3\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1728000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "1728000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1728000\n",
}


@pytest.fixture
def orin(tmp_path):
    return put(tmp_path, ORIN)


def test_an_orin_tells_what_it_is(orin):
    assert is_jetson(orin)
    assert board(orin) == "NVIDIA Jetson Orin Nano Developer Kit"
    assert l4t_version(orin) == "36.4.3"
    assert jetpack_version(orin) == "6.2"


def test_packages_are_those_that_are_installed(orin):
    assert package_version("nvidia-jetpack-dev", orin) == "1.0"
    assert package_version("libnvinfer10", orin) == ""
    assert package_version("absent", orin) == ""


def test_without_jetpack_the_version_of_jetson_linux_stands_in(orin):
    (orin / "var/lib/dpkg/status").unlink()
    assert jetpack_version(orin) == "Jetson Linux 36.4.3"


def test_the_power_mode_has_its_name(orin):
    assert power_mode(orin) == PowerMode(2, "MAXN_SUPER")


def test_a_power_mode_that_the_configuration_does_not_name_is_unnamed(orin):
    (orin / "etc/nvpmodel.conf").unlink()
    assert power_mode(orin) == PowerMode(2, "unnamed")


def test_clocks_are_those_of_gpu_and_cores_in_hertz(orin):
    gpu, cpu = clocks(orin)
    assert gpu == Clock("GPU", 306_000_000, 306_000_000, 1_020_000_000)
    assert cpu == Clock("CPU 0 1 2 3", 1_728_000_000, 1_728_000_000, 1_728_000_000)
    assert (gpu.fixed, cpu.fixed) == (False, True)


@pytest.mark.parametrize("name", ["17000000.ga10b", "57000000.gpu", "17000000.gv11b", "gpu-gpc-0"])
def test_the_gpu_is_found_under_each_of_its_names(tmp_path, name):
    folder = f"sys/class/devfreq/{name}"
    files = {f"{folder}/{file}": "1000" for file in ("cur_freq", "min_freq", "max_freq")}
    assert [clock.name for clock in clocks(put(tmp_path, files))] == ["GPU"]


def test_a_clock_that_cannot_be_read_is_left_out(orin):
    (orin / "sys/class/devfreq/17000000.gpu/cur_freq").write_text("unavailable")
    assert [clock.name for clock in clocks(orin)] == ["CPU 0 1 2 3"]


def test_a_machine_with_nothing_is_no_jetson(tmp_path):
    assert not is_jetson(tmp_path)
    assert (board(tmp_path), l4t_version(tmp_path), jetpack_version(tmp_path)) == ("", "", "")
    assert power_mode(tmp_path) is None
    assert clocks(tmp_path) == []


def test_files_that_are_not_text_are_no_error(tmp_path):
    for name in ("etc/nv_tegra_release", "var/lib/dpkg/status", "var/lib/nvpmodel/status"):
        put(tmp_path, {name: ""})
        (tmp_path / name).write_bytes(bytes(range(256)))
    assert jetpack_version(tmp_path) == ""
    assert power_mode(tmp_path) is None


def test_a_container_on_a_jetson_is_known_by_its_device_tree(tmp_path):
    assert is_jetson(put(tmp_path, {"proc/device-tree/compatible": "nvidia,p3767\0nvidia,tegra234\0"}))


def test_clocks_are_pinned_where_none_may_move(orin):
    assert clock_state(orin) == "moving"
    for least in orin.rglob("*min_freq"):
        least.write_text(least.with_name(least.name.replace("min", "max")).read_text())
    assert clock_state(orin) == "pinned"


def test_a_machine_that_shows_no_clock_has_no_state(tmp_path):
    assert clock_state(tmp_path) == ""


def test_deep_learning_accelerators_are_counted_on_a_jetson_only(orin, tmp_path):
    assert dla_cores(orin) == 0
    for core in range(2):
        (orin / f"sys/bus/platform/devices/158{8 + core}0000.nvdla{core}").mkdir(parents=True)
    assert dla_cores(orin) == 2
    (tmp_path / "pc/sys/bus/platform/devices/15880000.nvdla0").mkdir(parents=True)
    assert dla_cores(tmp_path / "pc") == 0
