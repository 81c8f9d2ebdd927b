import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.runtime.device.power import Meter, Reading, read_sensors

INA3221 = "sys/class/hwmon/hwmon3"
SECOND = "sys/class/hwmon/hwmon4"
ORIN_NANO = {
    "sys/class/hwmon/hwmon0/name": "pwmfan\n",
    f"{INA3221}/name": "ina3221\n",
    f"{INA3221}/in1_label": "VDD_IN\n",
    f"{INA3221}/in1_input": "5000\n",
    f"{INA3221}/curr1_input": "1200\n",
    f"{INA3221}/in2_label": "VDD_CPU_GPU_CV\n",
    f"{INA3221}/in2_input": "5000\n",
    f"{INA3221}/curr2_input": "400\n",
    f"{INA3221}/in3_label": "VDD_SOC\n",
    f"{INA3221}/in3_input": "5000\n",
    f"{INA3221}/curr3_input": "300\n",
    f"{INA3221}/in4_input": "6000\n",
    f"{INA3221}/in7_label": "sum of shunt voltages\n",
    f"{INA3221}/in7_input": "9000\n",
    f"{INA3221}/curr4_input": "1900\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51250\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/type": "tj-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "51750\n",
}
AGX_ORIN = {
    f"{INA3221}/name": "ina3221",
    f"{INA3221}/in1_label": "VDD_GPU_SOC",
    f"{INA3221}/in1_input": "20000",
    f"{INA3221}/curr1_input": "250",
    f"{INA3221}/in2_label": "VDD_CPU_CV",
    f"{INA3221}/in2_input": "20000",
    f"{INA3221}/curr2_input": "100",
    f"{INA3221}/in3_label": "VIN_SYS_5V0",
    f"{INA3221}/in3_input": "5000",
    f"{INA3221}/curr3_input": "1000",
    f"{SECOND}/name": "ina3221",
    f"{SECOND}/in1_label": "NC",
    f"{SECOND}/in1_input": "0",
    f"{SECOND}/curr1_input": "0",
    f"{SECOND}/in2_label": "VDDQ_VDD2_1V8AO",
    f"{SECOND}/in2_input": "5000",
    f"{SECOND}/curr2_input": "80",
}
THOR = {
    f"{INA3221}/name": "ina3221",
    f"{INA3221}/in1_label": "VDD_GPU",
    f"{INA3221}/in1_input": "12000",
    f"{INA3221}/curr1_input": "-32",
    f"{SECOND}/name": "ina238",
    f"{SECOND}/in1_input": "20000",
    f"{SECOND}/curr1_input": "1150",
    f"{SECOND}/power1_input": "23000000",
}


def put(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_an_orin_nano_measures_its_whole_input(tmp_path):
    reading = read_sensors(put(tmp_path, ORIN_NANO))
    assert reading.watts == pytest.approx({"VDD_IN": 6.0, "VDD_CPU_GPU_CV": 2.0, "VDD_SOC": 1.5})
    assert reading.input == ("VDD_IN", pytest.approx(6.0))


def test_an_agx_orin_adds_up_its_rails_and_counts_none_twice(tmp_path):
    reading = read_sensors(put(tmp_path, AGX_ORIN))
    assert reading.watts["VDDQ_VDD2_1V8AO"] == pytest.approx(0.4)
    assert "NC" not in reading.watts
    assert reading.input == ("VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0", pytest.approx(12.0))


def test_thor_measures_its_input_with_another_chip_and_a_rail_may_read_below_zero(tmp_path):
    reading = read_sensors(put(tmp_path, THOR))
    assert reading.watts["VDD_GPU"] == pytest.approx(-0.384)
    assert reading.input == ("VIN", pytest.approx(23.0))


def test_a_label_of_the_device_tree_names_the_chips_rail(tmp_path):
    put(
        tmp_path,
        {f"{SECOND}/name": "ina238", f"{SECOND}/label": "VDD_IN", f"{SECOND}/power1_input": "5000000"},
    )
    assert read_sensors(tmp_path).input == ("VDD_IN", pytest.approx(5.0))


def test_rails_of_another_board_give_no_total(tmp_path):
    put(tmp_path, {f"{INA3221}/name": "ina3221", f"{INA3221}/in1_label": "VDD_MODEM"})
    put(tmp_path, {f"{INA3221}/in1_input": "5000", f"{INA3221}/curr1_input": "100"})
    reading = read_sensors(tmp_path)
    assert reading.watts == pytest.approx({"VDD_MODEM": 0.5})
    assert reading.input is None


def test_the_junction_is_the_temperature_and_a_zone_that_is_off_is_left_out(tmp_path):
    reading = read_sensors(put(tmp_path, ORIN_NANO))
    assert reading.celsius == pytest.approx({"cpu-thermal": 51.25, "tj-thermal": 51.75})
    assert reading.hottest == pytest.approx(51.75)
    assert Reading({}, {"a": 40.0, "b": 60.0}).hottest == 60.0


def test_a_machine_with_nothing_reads_nothing(tmp_path):
    reading = read_sensors(tmp_path)
    assert (reading.watts, reading.celsius, reading.input, reading.hottest) == ({}, {}, None, None)


@pytest.mark.parametrize("content", ["", "n/a", "12 34", "\x00"])
def test_a_sensor_that_gives_no_number_is_left_out(tmp_path, content):
    put(tmp_path, ORIN_NANO | {f"{INA3221}/curr1_input": content})
    put(tmp_path, {"sys/class/thermal/thermal_zone2/temp": content})
    reading = read_sensors(tmp_path)
    assert "VDD_IN" not in reading.watts
    assert "tj-thermal" not in reading.celsius


def test_a_sensor_that_is_switched_off_is_left_out(tmp_path):
    put(tmp_path, ORIN_NANO)
    (tmp_path / INA3221 / "curr1_input").unlink()
    (tmp_path / INA3221 / "curr1_input").mkdir()  # reading it fails, as the kernel's does
    assert set(read_sensors(tmp_path).watts) == {"VDD_CPU_GPU_CV", "VDD_SOC"}


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=20), st.floats(0.1, 1e4))
def test_energy_is_power_over_throughput(watts, throughput):
    meter = Meter(lambda: Reading({}, {}))
    meter.readings += [Reading({"VIN": value}, {"tj-thermal": value}) for value in watts]
    power = meter.power(throughput)
    assert power.source == "VIN"
    assert power.joules * throughput == pytest.approx(power.mean_watts)
    assert min(watts) * 0.999 <= power.mean_watts <= max(watts) * 1.001
    assert power.peak_watts == meter.celsius == max(watts)


def test_a_meter_reads_beside_the_work_and_its_blocks_add_up():
    meter = Meter(lambda: Reading({"VDD_IN": 5.0}, {}), interval=0.001)
    for block in (1, 2):
        with meter:
            while len(meter.readings) < 5 * block:
                time.sleep(0.001)
        count = len(meter.readings)
        time.sleep(0.01)
        assert len(meter.readings) == count
    assert meter.power(10).joules == 0.5


def test_without_sensors_nothing_runs_beside_the_work():
    before = threading.active_count()
    with Meter(lambda: Reading({}, {})) as meter:
        assert threading.active_count() == before
    assert meter.power(10) is None
    assert meter.celsius is None
