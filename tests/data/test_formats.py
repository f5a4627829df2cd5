"""Each native file reads to its reference: the matrix of formats."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from odynn import recordings, units
from odynn.config import from_mapping
from odynn.errors import ConfigError, RecordingError

PAIR = "rat_SSCx_BBP_C060109A1/X_IDthresh_ch{channel}_{sweep}.ibw"
KALI = "rodent_hippo_kali_s150420_0403"
HERG = "herg_cell5_sinewave_vc"
NWB = "mouse_S1_L23_lantyer_CC/LantyerEtAl2018_180817_ME_9_CC.nwb"
AMPLITUDES = "csv1.json:cells.TEST_CELL.experiments.step.amplitudes"
STEP = [{"step": 1.0, "from": 200, "to": 1000}]

# reference: (target settings, paths relative to the data; every how many samples were kept)
MATRIX = {
    "celegans_AIY": ({"file": "celegans_AIY/celegans_AIY.csv"}, 1),
    "neuron_171116sh_steps": ({"file": "neuron_171116sh_steps/171116sh_0018.abf"}, 2),
    "neuron_18711001_FI": ({"file": "neuron_18711001_FI/18711001.abf"}, 2),
    "mouse_S1_L23_lantyer_CC": ({"file": NWB}, 2),
    "rat_SSCx_BBP_C060109A1": ({"file": PAIR}, 1),
    KALI: (
        {
            "file": f"{KALI}/s150420-0403_ch1_cols.txt",
            "columns": {"V": "{sweep}"},
            "units": {"V": "mV"},
            "interval": 0.2,
            "protocol": {"unit": "nA", "pieces": STEP, "amplitudes": f"{KALI}/{AMPLITUDES}"},
        },
        1,
    ),
    HERG: (
        {
            "file": f"{HERG}/sine_wave_16713110_dofetilide_subtracted_leak_subtracted.mat",
            "columns": {"I": "T"},
            "units": {"I": "nA"},
            "interval": 0.1,
            "stimulus": {
                "file": f"{HERG}/sine_wave_protocol.mat",
                "columns": {"stimulus": "T"},
                "units": {"stimulus": "mV"},
            },
        },
        1,
    ),
    "celegans_AVAL1_calcium": (
        {
            "file": "celegans_AVAL1_calcium/AVAL1.csv",
            "columns": {"time": "timeVector", "stimulus": "inputCurrent", "Ca": "trace"},
            "units": {"time": "s", "stimulus": "uA/cm^2", "Ca": "dF/F0"},
        },
        1,
    ),
}
READERS = {"celegans_AIY": "csv", "mouse_S1_L23_lantyer_CC": "nwb", "rat_SSCx_BBP_C060109A1": "ibw"}
READERS |= {"neuron_171116sh_steps": "abf", "neuron_18711001_FI": "abf", KALI: "csv", HERG: "mat"}
STORED = {"V": ("voltage", "mV"), "Ca": ("calcium", None), "I": ("current", "nA")}


def settings_of(name, folder):
    """Return the settings of a row of the matrix, with paths that lead to the data."""
    found = MATRIX[name][0] | {"file": str(folder / MATRIX[name][0]["file"])}
    if "stimulus" in found:
        found["stimulus"] = found["stimulus"] | {"file": str(folder / found["stimulus"]["file"])}
    if "protocol" in found:
        found["protocol"] = found["protocol"] | {"amplitudes": str(folder / KALI / AMPLITUDES)}
    return found


def read(name, folder):
    settings = settings_of(name, folder)
    return recordings.read(settings.pop("file"), **settings)


def test_every_reference_is_in_the_matrix(data_folder):
    assert {path.stem for path in (data_folder / "reference").glob("*.h5")} == set(MATRIX)


def test_every_file_is_in_the_matrix(data_folder):
    """Beside the references and licences, there is no file that no row reads."""
    read_ones = {
        Path(file).relative_to(data_folder)
        for name in MATRIX
        for file in recordings.files_of(settings_of(name, data_folder))
    }
    there = {path.relative_to(data_folder) for path in data_folder.glob("*/*") if path.is_file()}
    there = {
        path for path in there if path.parts[0] != "reference" and path.stem not in ("LICENSE", "LICENCE")
    }
    assert len(there) == 45
    assert there == read_ones


@pytest.mark.parametrize("name", MATRIX)
def test_native_file_against_the_reference(data_folder, name):
    found, every = read(name, data_folder), MATRIX[name][1]
    (state,) = found.responses
    stored, unit = STORED[state]
    with h5py.File(data_folder / "reference" / f"{name}.h5") as file:
        wanted = {key: file[key][...] for key in ("time", "stimulus", stored)}
        stimulus_unit = file["stimulus"].attrs["units"]
    trace = units.convert(found.responses[state], found.units[state], unit or "1", state)[::every]
    if units.is_known(stimulus_unit):
        stimulus = units.convert(found.stimulus, found.units["stimulus"], stimulus_unit, "stimulus")[::every]
    else:
        stimulus = found.stimulus  # an annotation of no unit
    np.testing.assert_allclose(found.time[::every], wanted["time"], rtol=1e-12, atol=1e-9)
    # The references are in single precision, and the table of AIY has four decimals.
    for ours, theirs in ((trace, wanted[stored]), (stimulus, wanted["stimulus"])):
        spacing = np.spacing(np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=max(0.6e-4 if every == 1 else 0, spacing))
    assert found.source["reader"] == READERS.get(name, "csv")
    assert len(found.source["sha256"]) == 64
    assert found.clamp == ("voltage" if name == HERG else "current")


def test_rates_numbers_and_metadata(data_folder):
    steps = read("neuron_171116sh_steps", data_folder)
    assert steps.rate == 20000
    assert steps.units == {"stimulus": "pA", "V": "mV"}
    assert steps.source["library"].startswith("pyabf ")
    assert steps.source["stimulus from"] == "command Cmd 0"
    assert steps.metadata["protocol"] == "0113 steps dual -100 to 300 step 25"
    mouse = read("mouse_S1_L23_lantyer_CC", data_folder)
    assert mouse.sweeps.tolist() == list(range(1, 11))
    assert mouse.metadata["species"] == "Mus musculus"
    assert mouse.labels[0] == "step-and-hold stimulation protocol"
    rat = read("rat_SSCx_BBP_C060109A1", data_folder)
    with h5py.File(data_folder / "reference" / "rat_SSCx_BBP_C060109A1.h5") as file:
        assert rat.sweeps.tolist() == file["ibw_number"][...].tolist()
    assert rat.rate == 4000
    assert rat.units == {"stimulus": "A", "V": "V"}
    assert rat.source["file"].endswith("(36 in all)")


def test_channels_by_what_stands_in_the_name(data_folder):
    """Told the other way round, the channels are swapped, and refused for it."""
    with pytest.raises(RecordingError, match="stimulus must be a current.*Received: a voltage"):
        recordings.read(data_folder / PAIR, columns={"stimulus": "1", "V": "0"})
    only = recordings.read(data_folder / PAIR, columns={"stimulus": "0", "V": "1"}, sweeps=[351, 370])
    assert only.sweeps.tolist() == [351, 370]
    voltages = {"unit": "pA", "pieces": [{"step": 1, "from": 700, "to": 2700}], "amplitudes": [10, 20]}
    described = recordings.read(data_folder / PAIR, columns={"V": "1"}, sweeps=[351, 370], protocol=voltages)
    assert described.stimulus.max(axis=0).tolist() == [10, 20]


def test_one_wave_alone_lacks_the_stimulus(data_folder):
    path = data_folder / "rat_SSCx_BBP_C060109A1" / "X_IDthresh_ch1_349.ibw"
    with pytest.raises(
        RecordingError, match="Expected the stimulus.*Received: X_IDthresh_ch1_349 .V.*protocol"
    ):
        recordings.read(path)


def test_a_list_of_files_stands_side_by_side(data_folder):
    folder = data_folder / "neuron_171116sh_steps"
    one = recordings.read(folder / "171116sh_0018.abf")
    assert len(recordings.read([folder / "171116sh_0018.abf"]).sweeps) == one.sweeps.size
    with pytest.raises(
        RecordingError, match="171116sh_0018.abf: expected the times of 18711001.abf: 30000 samples"
    ):
        recordings.read([data_folder / "neuron_18711001_FI" / "18711001.abf", folder / "171116sh_0018.abf"])


def test_measured_channel_in_place_of_the_command(data_folder):
    path = data_folder / "neuron_171116sh_steps" / "171116sh_0018.abf"
    with pytest.raises(RecordingError, match="columns.stimulus: expected a channel .*IN 0, Cmd 0.*'Cmd O'"):
        recordings.read(path, columns={"stimulus": "Cmd O"})
    other = recordings.read(path, columns={"stimulus": "Cmd 1"}, units={"stimulus": "pA"})
    assert np.ptp(other.stimulus) == 0  # nothing was put out there


@pytest.mark.parametrize("name", [name for name in MATRIX if name not in (HERG, "celegans_AVAL1_calcium")])
def test_configuration_of_a_native_file(data_folder, tmp_path, name):
    """The check that runs before any job accepts each recording, and names its files for the workflow."""
    target = settings_of(name, data_folder) | {"area": 2e4}
    settings = {"model": "leaky", "dt": 0.5, "target": target}
    checked = from_mapping({"experiments": {"x": settings}}, tmp_path, "my.yaml").experiments["x"]
    files = recordings.files_of(checked["target"])
    assert all(Path(file).is_file() for file in files)
    assert len(files) == {"rat_SSCx_BBP_C060109A1": 36, KALI: 2}.get(name, 1)
    found = recordings.load_target(checked["target"], 0.5, steady_state=True)
    assert found.initial.shape == found.sweeps.shape
    assert str(data_folder) not in str(dict(found.source))
    if name == "mouse_S1_L23_lantyer_CC":
        assert found.source["file says of species"] == "Mus musculus"


def test_configuration_of_voltage_clamp(data_folder, tmp_path):
    settings = {"model": "herg", "dt": 0.5, "target": settings_of(HERG, data_folder), "loss": {"I": 1.0}}
    checked = from_mapping({"experiments": {"x": settings}}, tmp_path, "my.yaml").experiments["x"]
    assert len(recordings.files_of(checked["target"])) == 2
    found = recordings.load_target(checked["target"], 0.5, steady_state=True)
    assert found.units == {"I": "nA", "stimulus": "mV"}
    assert found.initial == pytest.approx([-80.0])
    with pytest.raises(ConfigError, match="area: the recorded current is a current"):
        from_mapping({"experiments": {"x": settings | {"model": "leaky"}}}, tmp_path, "my.yaml")
