"""A look at real recordings: protocols as documented, measures as others get them, blocks that load."""

import h5py
import numpy as np
import pytest

from odynn import cli, config, recordings
from odynn.findings import ERROR, WARNING

# What the data's own documents say: format, steps of the main window [from, to) in ms, levels in pA.
PROTOCOLS = {
    "celegans_AIY": ((978, 5978), np.arange(-15.0, 36.0, 5.0), False),
    "mouse_S1_L23_lantyer_CC": ((100, 600), np.arange(40.0, 401.0, 40.0), True),
    "neuron_171116sh_steps": ((147, 647), np.arange(-100.0, 301.0, 25.0), True),
    "neuron_18711001_FI": ((823.4, 1323.4), np.arange(0.0, 291.0, 10.0), True),
    "rodent_hippo_kali_s150420_0403": ((200, 1000), None, True),
}


@pytest.fixture(scope="module")
def reference(data_folder):
    return data_folder / "reference"


def look(path, **options):
    return recordings.inspect(recordings.read(path, **options))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_found(reference, name):
    window, levels, spiking = PROTOCOLS[name]
    found = look(reference / f"{name}.h5")
    assert found.window == pytest.approx(window, abs=0.5)
    if levels is None:
        with h5py.File(reference / f"{name}.h5") as file:
            levels = file["stimulus"][2000]
    assert [sweep.level for sweep in found.sweeps] == pytest.approx(levels, rel=0.012, abs=0.5)
    assert found.spiking == spiking
    assert not [remark for remark in found.remarks if remark.weight == ERROR]
    assert 0.02 < found.slope.value < 10  # GΩ
    assert 5 < found.relaxation.tau < 60
    assert found.relaxation.error < 0.1 * found.relaxation.tau


def test_steps_in_a_noisy_measured_current(reference):
    """The file also has the level of each step, from elsewhere; the noise is as large as the steps."""
    path = reference / "rat_SSCx_BBP_C060109A1.h5"
    found = look(path)
    ideal = recordings.read(path, columns={"stimulus": "stimulus_ideal"}).stimulus
    assert found.window == pytest.approx((700, 2700), abs=1.5)
    for sweep, command in zip(found.sweeps, ideal.T, strict=True):
        assert len(sweep.steps) == 1
        assert sweep.level == pytest.approx(command[6000], abs=5)
        assert sweep.baseline == pytest.approx(command[0], abs=5)
    warned = " ".join(remark.text for remark in found.remarks if remark.weight == WARNING)
    assert "fluctuates by" in warned and "0.25 ms" in warned


def test_measures_against_efel(reference):
    """Voltages at rest and under a step, and the number of spikes, as another program measures them."""
    efel = pytest.importorskip("efel")
    found = look(reference / "neuron_171116sh_steps.h5")
    features = ["voltage_base", "steady_state_voltage_stimend", "spike_count_stimint", "sag_ratio1"]
    traces = [
        {
            "T": found.recording.time,
            "V": found.recording.responses["V"][:, place],
            "stim_start": [found.window[0]],
            "stim_end": [found.window[1]],
        }
        for place in range(len(found.sweeps))
    ]
    measured = efel.get_feature_values(traces, features, raise_warnings=False)
    for sweep, values in zip(found.sweeps, measured, strict=True):
        assert sweep.rest == pytest.approx(float(values["voltage_base"][0]), abs=1.2)
        assert sweep.spikes_within == int(values["spike_count_stimint"][0])
        if not sweep.spikes_within:
            assert sweep.plateau == pytest.approx(float(values["steady_state_voltage_stimend"][0]), abs=1.0)
    assert found.sag == pytest.approx(float(measured[0]["sag_ratio1"][0]), abs=0.05)


def test_voltage_clamp(reference):
    found = look(reference / "herg_cell5_sinewave_vc.h5")
    assert found.response == "I" and found.slope is None
    # README: a sine after steps to 40 and -120 mV, and capacitive spikes at the steps.
    levels = [round(step.level) for step in found.sweeps[0].steps[:3]]
    assert levels == [-120, 40, -120]
    assert found.sweeps[0].constant < 0.9
    said = " ".join(remark.text for remark in found.remarks)
    assert "transients" in said and "voltage-clamp" in said


def test_calcium(reference):
    found = look(reference / "celegans_AVAL1_calcium.h5", units={"stimulus": "uA/cm^2"})
    assert found.response == "Ca" and found.slope is None
    assert not any(sweep.spikes.size for sweep in found.sweeps)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("celegans_AIY/celegans_AIY.csv", ["--area", "65.89"]),
        ("neuron_171116sh_steps/171116sh_0018.abf", []),
        ("mouse_S1_L23_lantyer_CC/LantyerEtAl2018_180817_ME_9_CC.nwb", []),
        (
            "rat_SSCx_BBP_C060109A1/X_IDthresh_ch{channel}_{sweep}.ibw",
            ["--columns", "stimulus=0", "--columns", "V=1"],
        ),
        (
            "celegans_AVAL1_calcium/AVAL1.csv",
            "--columns time=timeVector --columns stimulus=inputCurrent --columns Ca=trace "
            "--units time=s --units stimulus=uA/cm^2 --units Ca=dF/F0".split(),
        ),
    ],
    ids=["csv", "abf", "nwb", "ibw", "calcium"],
)
def test_what_is_printed_last_is_a_configuration(data_folder, tmp_path, capsys, file, words):
    figure = tmp_path / "look.png"
    assert cli.main(["inspect", str(data_folder / file), *words, "--figure", str(figure)]) == 0
    printed = capsys.readouterr().out
    assert figure.stat().st_size > 20_000
    (tmp_path / "pasted.yaml").write_text(printed[printed.index("experiments:") :], "utf-8")
    assert cli.main(["check", str(tmp_path / "pasted.yaml")]) == 0
    (settings,) = config.load(tmp_path / "pasted.yaml").experiments.values()
    target = recordings.load_target(settings["target"], settings["dt"], steady_state=True)
    assert target.train.any()
    if words[:1] == ["--area"]:
        assert settings["target"]["area"] == 65.89
