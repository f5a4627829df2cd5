"""Real recordings: both readers against each other, and against the arrays in the files themselves."""

import time

import h5py
import numpy as np
import pytest

from odynn import recordings, spikes
from odynn.errors import RecordingError
from odynn.spikes.features import features, step_spans

AREA = 65.89  # µm², of the AIY neuron
CURRENT_CLAMP = {
    # file: (samples, sweeps, sampling interval in ms)
    "celegans_AIY": (17449, 11, 0.4),
    "mouse_S1_L23_lantyer_CC": (11600, 10, 0.1),
    "neuron_171116sh_steps": (30000, 17, 0.1),
    "neuron_18711001_FI": (15000, 30, 0.1),
    "rat_SSCx_BBP_C060109A1": (12000, 18, 0.25),
    "rodent_hippo_kali_s150420_0403": (7000, 27, 0.2),
}


@pytest.fixture(autouse=True)
def same_process(monkeypatch):
    """A process for each HDF5 file would take its time; tests of odynn.recordings.isolation have one."""
    monkeypatch.setattr("odynn.recordings.hdf5.run_isolated", lambda function, *rest: function(*rest))


@pytest.fixture
def aiy(data_folder):
    return data_folder / "celegans_AIY" / "celegans_AIY.csv"


@pytest.fixture
def reference(data_folder):
    return data_folder / "reference"


def test_aiy_table_against_the_reference(aiy, reference):
    table = recordings.read(aiy)
    stored = recordings.read(reference / "celegans_AIY.h5")
    assert table.units == stored.units == {"stimulus": "pA", "V": "mV"}
    assert table.sweeps.tolist() == stored.sweeps.tolist() == list(range(11))
    np.testing.assert_allclose(table.time, stored.time, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(table.stimulus, stored.stimulus)
    # The table has four decimals, of numbers that the other file has in single precision.
    np.testing.assert_allclose(table.responses["V"], stored.responses["V"], rtol=0, atol=0.6e-4)


def test_aiy_protocol(aiy):
    """README: 11 steps of −15 … 35 pA for 5 s, on from 978 ms."""
    settings = {"file": str(aiy), "area": AREA}
    target = recordings.load_target(settings, 0.4, steady_state=True)
    assert recordings.preflight(settings, 0.4) == []
    amplitudes = np.arange(-15, 36, 5) * 100 / AREA
    np.testing.assert_allclose(target.stimulus[target.time.searchsorted(3000)], amplitudes, rtol=1e-12)
    on = target.stimulus[:, 0] != 0
    assert target.time[on].min() - target.dt == pytest.approx(978)
    assert on.sum() * target.dt == pytest.approx(5000)
    assert target.sweeps[target.train].tolist() == [0, 2, 4, 6, 8, 10]
    assert target.initial[:3].tolist() == [-54.2917, -54.7636, -52.4475]  # the table's first row
    assert target.observed["V"][0, :3].tolist() == [-54.3573, -54.784, -52.4647]  # its second


@pytest.mark.parametrize("dt", [0.5, 1.0, 2.0])
def test_aiy_on_longer_steps(aiy, dt):
    recording = recordings.read(aiy)
    target = recordings.prepare(recording, dt=dt, area=AREA, initial=True)
    assert target.time.size == int(6979.2 / dt)
    charge = recording.stimulus.sum(axis=0) * 0.4 * 100 / AREA
    np.testing.assert_allclose(target.stimulus.sum(axis=0) * dt, charge, rtol=1e-9)
    # The trace is slow: a mean over a step is close to the trace drawn between its samples.
    drawn = np.interp(target.time, recording.time, recording.responses["V"][:, 4])
    assert np.abs(target.observed["V"][:, 4] - drawn).mean() < 0.1


def test_aiy_is_read_quickly(aiy):
    recordings.read(aiy)  # imports of pandas and pint
    began = time.perf_counter()
    recordings.read(aiy)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("name", CURRENT_CLAMP)
def test_current_clamp(reference, name):
    samples, sweeps, interval = CURRENT_CLAMP[name]
    recording = recordings.read(reference / f"{name}.h5")
    with h5py.File(reference / f"{name}.h5") as file:
        stored = {key: file[key][...] for key in ("time", "stimulus", "voltage")}
    assert recording.responses["V"].shape == recording.stimulus.shape == (samples, sweeps)
    np.testing.assert_array_equal(recording.responses["V"], stored["voltage"])
    np.testing.assert_array_equal(recording.stimulus, stored["stimulus"])

    target = recordings.prepare(recording, dt=interval, area=2e4, initial=True)
    np.testing.assert_array_equal(target.initial, stored["voltage"][0])
    np.testing.assert_array_equal(target.observed["V"], stored["voltage"][1:])
    # 1 pA over 20000 µm² is 0.005 µA/cm²; the sample that holds over a step is that at its start.
    np.testing.assert_allclose(target.stimulus, stored["stimulus"][:-1] * 0.005, rtol=1e-6)
    np.testing.assert_allclose(target.time, stored["time"][1:] - stored["time"][0], atol=1e-9)
    np.testing.assert_array_equal(target.sweeps[target.train], np.arange(0, sweeps, 2))

    assert recordings.prepare(recording, dt=0.5, area=2e4).source["resample"].startswith("from ")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("neuron_171116sh_steps", [0] * 6 + [2, 3, 6, 8, 10, 12, 12, 14, 16, 16, 18]),
        ("neuron_18711001_FI", [0] * 7 + [2] * 3 + [3] * 2 + [4] * 4 + [5] * 6 + [6] * 4 + [7] * 4),
        ("mouse_S1_L23_lantyer_CC", [0] * 3 + [9, 21, 27, 33, 37, 42, 46]),
        ("rat_SSCx_BBP_C060109A1", [0] * 3 + [3, 6, 8, 9, 10, 10] + [0] * 3 + [4, 6, 7, 8, 9, 10]),
        ("celegans_AIY", [0] * 11),  # graded: rises above 0 mV with noise, and spikes nowhere
    ],
)
@pytest.mark.parametrize("threshold", [-30.0, -10.0, 20.0])
def test_spikes_of_recorded_cells(reference, name, counts, threshold):
    # Counted as crossings of 0 mV in the traces, and by eye.
    recording = recordings.read(reference / f"{name}.h5")
    voltage = recording.responses["V"]
    noisy = voltage + np.random.default_rng(0).normal(0, 1, voltage.shape)
    for trace in (voltage, noisy):
        found = spikes.spike_times(trace, recording.time, threshold=threshold)
        assert spikes.spike_counts(found).tolist() == counts


@pytest.mark.parametrize(
    ("name", "sweep", "step"),
    [
        ("neuron_171116sh_steps", 16, (146.8, 646.8)),
        ("neuron_18711001_FI", 20, (823.3, 1323.3)),
        ("mouse_S1_L23_lantyer_CC", 5, (100.0, 600.0)),
        ("rat_SSCx_BBP_C060109A1", 8, (700.0, 2700.0)),  # measured, with artefacts and a noise of ±100 pA
    ],
)
def test_steps_and_features_of_recorded_cells(reference, name, sweep, step):
    pytest.importorskip("efel", reason="needs the extra 'features'")
    recording = recordings.read(reference / f"{name}.h5")
    time, stimulus = recording.time, recording.stimulus[:, [sweep]]
    voltage = recording.responses["V"][:, [sweep]]
    begin, end = step_spans(stimulus, time)[:, 0]
    assert (begin, end) == pytest.approx(step, abs=1.5)
    times = spikes.spike_times(voltage, time)[:, 0]
    during = times[(times > begin) & (times < end)]
    found = {feature: values[0] for feature, values in features(voltage, time, stimulus).items()}
    assert found["spike_count"] == len(during) >= 4
    assert found["time_to_first_spike"] == pytest.approx(during[0] - begin, abs=0.6)
    assert 60 < found["AP_amplitude"] < 110
    assert 0.3 < found["AP_duration_half_width"] < 3


def test_cleaner_stimulus_of_the_rat_recording(reference):
    path = reference / "rat_SSCx_BBP_C060109A1.h5"
    measured = recordings.read(path)
    ideal = recordings.read(path, columns={"stimulus": "stimulus_ideal"})
    assert measured.source["datasets left out"] == "ibw_number, stimulus_ideal"
    assert measured.stimulus.max() > 1000 > 300 > ideal.stimulus.max()
    assert ideal.units["stimulus"] == "pA"


def test_voltage_clamp(reference):
    recording = recordings.read(reference / "herg_cell5_sinewave_vc.h5")
    assert recording.clamp == "voltage"
    assert recording.units == {"stimulus": "mV", "I": "nA"}
    target = recordings.prepare(recording, dt=0.1, initial=True)
    assert target.units == {"I": "nA", "stimulus": "mV"}
    assert target.initial == pytest.approx([-80.0])
    np.testing.assert_allclose(target.observed["I"], recording.responses["I"][1:], rtol=1e-12)


def test_annotation_is_no_stimulus_until_it_is_declared_one(data_folder, reference):
    path = reference / "celegans_AVAL1_calcium.h5"
    with pytest.raises(
        RecordingError, match=r"the stimulus .*Received: 'a\.u\. \(0\.\.1\)'.*units: {stimulus"
    ):
        recordings.read(path)
    stored = recordings.read(path, units={"stimulus": "uA/cm^2"})
    assert stored.responses["Ca"].shape == (3137, 1)
    assert stored.units["Ca"] == "dF/F0"
    assert stored.source["unit of stimulus"] == "uA/cm^2 (as declared; the file says a.u. (0..1))"

    columns = {"time": "timeVector", "stimulus": "inputCurrent", "Ca": "trace"}
    units = {"time": "s", "stimulus": "uA/cm^2", "Ca": "dF/F0"}
    path = data_folder / "celegans_AVAL1_calcium" / "AVAL1.csv"
    table = recordings.read(path, columns=columns, units=units)
    np.testing.assert_allclose(table.time, stored.time, rtol=1e-12)
    np.testing.assert_allclose(table.stimulus, stored.stimulus, rtol=0, atol=1e-7)
    np.testing.assert_allclose(table.responses["Ca"], stored.responses["Ca"], rtol=0, atol=1e-6)
    with pytest.raises(RecordingError, match="missing.*Received: trace, inputCurrent, timeVector"):
        recordings.read(path)
    target = recordings.prepare(table, dt=100.0)
    assert target.units == {"Ca": "dF/F0"}
    assert target.time[-1] == 1079600.0


def test_table_without_headers_is_refused(data_folder):
    path = data_folder / "rodent_hippo_kali_s150420_0403" / "s150420-0403_ch1_cols.txt"
    with pytest.raises(RecordingError, match="row 1: the first row must name the columns"):
        recordings.read(path)


@pytest.mark.parametrize(
    "name",
    [
        "neuron_18711001_FI/18711001.abf",
        "mouse_S1_L23_lantyer_CC/LantyerEtAl2018_180817_ME_9_CC.nwb",
        "rat_SSCx_BBP_C060109A1/X_IDthresh_ch0_349.ibw",
        "herg_cell5_sinewave_vc/sine_wave_protocol.mat",
    ],
)
def test_other_formats_are_refused_however_they_are_called(data_folder, name):
    path = data_folder / name
    for format in recordings.FORMATS:
        with pytest.raises(RecordingError, match="Received: ") as refusal:
            recordings.read(path, format=format, units={"V": "K"})
        assert all(line.startswith((str(path), "units.V: ")) for line in str(refusal.value).split("\n"))
