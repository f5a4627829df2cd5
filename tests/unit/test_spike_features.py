"""Features of spikes, and the scores of spiking targets."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from odynn import spikes
from odynn.analysis.scores import score_traces, score_units
from odynn.data import Target
from odynn.errors import OdynnError
from odynn.models import load_model
from odynn.spikes import features as module
from odynn.spikes.features import FEATURES, MOST, feature_errors, features, step_spans

efel = pytest.importorskip("efel", reason="needs the extra 'features'")

DT = 0.1
STEPS = (0.0, 1.0, 2.0, 3.0)  # µA/cm²


@pytest.fixture(scope="module")
def cell():
    """Return time, stimulus [time, sweep] and voltage of a spiking cell and of three others."""
    time = DT * np.arange(1, 3001)
    stimulus = np.where((time > 50) & (time <= 250), 1.0, 0.0)[:, None] * np.array(STEPS)
    model = load_model("pospischil")
    voltage = []
    for changes in ({}, {"g_L": 0.12}, {"g_M": 0.09}, {"g_Na": 1.0}):
        values = {
            **model.default_params,
            "g_Na": 50,
            "g_Kd": 5,
            "g_L": 0.1,
            "g_M": 0.07,
            "E_L": -70,
            "V_T": -60,
        }
        neuron = model({**values, **changes}, dt=DT)
        neuron.solver = "exponential_euler"
        voltage.append(neuron.calculate(stimulus)[:, 0])
    return time, stimulus, np.stack(voltage, axis=2)


@pytest.fixture(scope="module")
def target(cell):
    time, stimulus, voltage = cell
    train = np.array([True, False, True, False])
    return Target(time, stimulus, {"V": voltage[:, :, 0]}, {"V": "mV"}, np.arange(4), train)


def test_features_are_those_of_efel(cell):
    time, stimulus, voltage = cell
    found = features(voltage, time, stimulus)
    efel.reset()
    efel.set_setting("Threshold", -10.0)
    efel.set_setting("strict_stiminterval", True)
    compared = 0
    try:
        for sweep, start in np.ndindex(4, 4):
            trace = {"T": time, "V": voltage[:, sweep, start], "stim_start": [50.0], "stim_end": [250.0]}
            if not STEPS[sweep]:
                trace |= {"stim_start": [0.0], "stim_end": [300.0]}
            (values,) = efel.get_feature_values([trace], list(FEATURES), raise_warnings=False)
            for name, value in values.items():
                expected = np.nan if value is None or not len(value) else np.median(value)
                assert found[name][sweep, start] == pytest.approx(expected, nan_ok=True)
                compared += np.isfinite(expected)
    finally:
        efel.reset()
    assert compared > 60
    assert all(np.isfinite(values).any() for values in found.values())
    own = spikes.spike_counts(spikes.spike_times(voltage, time))
    assert np.array_equal(found["spike_count"], own)
    assert own.max() > 5


def test_settings_of_efel_are_left_as_they_were(cell):
    time, stimulus, voltage = cell
    efel.reset()
    try:
        efel.set_setting("Threshold", 35.0)
        efel.set_setting("interp_step", 0.025)
        mine = vars(efel.get_settings()).copy()
        before = efel.get_feature_values(_one(cell), ["spike_count"])
        found = features(voltage[:, 2:], time, stimulus[:, 2:], ["spike_count"])
        assert vars(efel.get_settings()) == mine
        assert efel.get_feature_values(_one(cell), ["spike_count"]) == before
        assert (found["spike_count"][:, 0] > 0).all()  # its own threshold, not 35 mV
    finally:
        efel.reset()


def _one(cell):
    return [{"T": cell[0], "V": cell[2][:, 3, 0], "stim_start": [50.0], "stim_end": [250.0]}]


def test_traces_that_are_not_finite_have_no_features(cell):
    time, stimulus, voltage = cell
    lost = voltage.copy()
    lost[500:, 2, 1] = np.nan
    found, whole = features(lost, time, stimulus), features(voltage, time, stimulus)
    for name, values in found.items():
        assert np.isnan(values[2, 1])
        values[2, 1] = whole[name][2, 1]
        assert np.array_equal(values, whole[name], equal_nan=True)


def test_without_efel_a_message_names_the_extra(cell, monkeypatch):
    monkeypatch.setitem(sys.modules, "efel", None)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    time, stimulus, voltage = cell
    with pytest.raises(OdynnError, match=r"extra 'features'.*odynn\[features\]"):
        features(voltage, time, stimulus)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(100, 200, 5.0)], (100, 200)),
        ([(20, 60, -3.0), (100, 200, 5.0)], (100, 200)),
        ([(20, 120, 5.0), (150, 250, 5.0)], (20, 120)),
        ([(20, 120, 5.0), (120, 250, -5.0)], (120, 250)),
        ([(20, 60, 5.0), (60, 250, 8.0)], (20, 250)),
        ([], (0, 300)),
    ],
    ids=["step", "prepulse", "two as long", "other sign", "stairs", "none"],
)
@pytest.mark.parametrize("offset", [0.0, -20.0])
def test_steps_are_found(pieces, expected, offset):
    time = DT * np.arange(1, 3001)
    stimulus = np.full((3000, 1), offset)
    for begin, end, level in pieces:
        stimulus[(time > begin + 1e-6) & (time <= end + 1e-6), 0] += level
    assert step_spans(stimulus, time)[:, 0] == pytest.approx(expected, abs=1e-6)


def test_steps_are_found_in_a_measured_current():
    rng = np.random.default_rng(0)
    time = DT * np.arange(1, 3001)
    stimulus = -2 + np.where((time > 100) & (time <= 200), 5.0, 0.0)
    quiet = stimulus + rng.normal(0, 0.05, 3000)
    quiet[1500:1510] = -40.0  # an artefact
    loud = stimulus + 4 * np.sin(2 * np.pi * time / 20) + rng.normal(0, 1, 3000)
    spans = step_spans(np.stack([quiet, loud], axis=1), time)
    assert spans[:, 0] == pytest.approx([100, 200], abs=0.11)
    assert spans[:, 1] == pytest.approx([100, 200], abs=10)


def test_errors_are_in_standard_deviations():
    observed = {
        "AP_amplitude": np.array([80.0, 84.0, 88.0, np.nan]),
        "time_to_first_spike": np.array([np.nan, 30.0, 30.5, np.nan]),
    }
    simulated = {
        "AP_amplitude": np.array([[82.0], [400.0], [np.nan], [90.0]]),
        "time_to_first_spike": np.array([[np.nan], [33.0], [30.5], [np.nan]]),
    }
    errors, counted = feature_errors(observed, simulated)
    assert np.std([80, 84, 88], ddof=1) == 4
    assert errors["AP_amplitude"][:, 0] == pytest.approx([0.5, 79.0, np.nan, np.nan], nan_ok=True)
    floor = FEATURES["time_to_first_spike"].floor
    assert floor > np.std([30, 30.5], ddof=1)
    assert errors["time_to_first_spike"][:, 0] == pytest.approx([np.nan, 3 / floor, 0, np.nan], nan_ok=True)
    assert counted[0, :, 0] == pytest.approx([0.5, MOST, MOST, np.nan], nan_ok=True)
    assert counted[1, :, 0] == pytest.approx([np.nan, 3 / floor, 0, np.nan], nan_ok=True)


def test_scores_of_a_spiking_target(cell, target):
    time, _, voltage = cell
    scores = score_traces({"V": voltage}, target)
    counts = spikes.spike_counts(spikes.spike_times(voltage, time))
    assert np.array_equal(scores["spike_count"], counts)
    assert np.array_equal(scores["spike_count_observed"], np.repeat(counts[:, :1], 4, axis=1))
    spiking = counts[:, 0] > 0
    assert 0 < spiking.sum() < 4
    assert scores["gamma"][spiking, 0] == pytest.approx(1.0)
    assert np.isnan(scores["gamma"][~spiking, 0]).all()
    assert (scores["gamma"][spiking, 3] == 0).all()  # silent
    assert scores["rmse_subthreshold"][:, 0] == pytest.approx(0.0)
    assert (scores["rmse_subthreshold"][spiking, 1] > 0.1).all()
    assert (scores["rmse_subthreshold"] <= scores["rmse_V"] + 1e-9)[:, :3].all()
    assert scores["error_features"][:, 0] == pytest.approx(0.0)
    assert (scores["error_features"][spiking, 3] > 5).all()
    assert {name for name in scores if name.startswith("error_")} == {
        f"error_{name}" for name in (*FEATURES, "features")
    }
    units = score_units(scores, target.units)
    assert units["gamma"] == units["spike_count"] == units["r2_V"] == "1"
    assert units["rmse_V"] == units["rmse_subthreshold"] == "mV"
    assert units["error_AHP_depth"] == units["error_features"] == "SD"


def test_scores_of_a_start_that_is_not_finite(cell, target):
    voltage = cell[2].copy()
    voltage[2000:, 3, 2] = np.nan
    scores, whole = score_traces({"V": voltage}, target), score_traces({"V": cell[2]}, target)
    for name, values in scores.items():
        if name != "spike_count_observed":
            assert np.isnan(values[3, 2]), name
        values[3, 2] = whole[name][3, 2]
        assert np.array_equal(values, whole[name], equal_nan=True)


def test_scores_without_efel(cell, target, monkeypatch):
    monkeypatch.setattr("odynn.analysis.scores.have_efel", lambda: False)
    names = set(score_traces({"V": cell[2]}, target))
    assert names == {"rmse_V", "r2_V", "spike_count", "spike_count_observed", "gamma", "rmse_subthreshold"}


def test_a_graded_target_has_no_scores_of_spikes(cell, target):
    graded = replace(target, observed={"V": np.minimum(target.observed["V"], -20.0)})
    assert set(score_traces({"V": cell[2]}, graded)) == {"rmse_V", "r2_V"}
    calcium = replace(target, observed={"Ca": target.observed["V"]}, units={"Ca": "a.u."})
    assert set(score_traces({"Ca": cell[2], "V": cell[2]}, calcium)) == {"rmse_Ca", "r2_Ca"}


def test_missing_samples_do_not_count(cell, target):
    observed = target.observed["V"].copy()
    observed[100:300, 2] = np.nan
    holes = replace(target, observed={"V": observed})
    scores = score_traces({"V": cell[2] + 1.0}, holes)
    assert scores["rmse_V"][2, 0] == pytest.approx(1.0)
    assert scores["rmse_subthreshold"][2, 0] == pytest.approx(1.0)
    assert scores["r2_V"][2, 0] == pytest.approx(1 - 1 / np.nanvar(observed[:, 2]))
