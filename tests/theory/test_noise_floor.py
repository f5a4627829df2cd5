"""Fits end where the noise lets them, in float32 as in float64, of a graded neuron and of a spiking one.

With n samples, noise of variance s² and k free parameters, the least mean squared error is about
s² (1 - k/n), and no fit of the right model is above it.
"""

import numpy as np
import pytest

from odynn.config import from_mapping
from odynn.fitting.evaluation import experiment_problem, fitted_starts, simulated_starts
from odynn.fitting.starts import draw_starts
from odynn.models import experiment_parameters, load_model
from odynn.simulation.synthetic import synthetic_target

GRADED = {
    "model": "hodghuxsimple",
    "dt": 1.0,
    "target": {
        "synthetic": {
            "duration": 200,
            "sweeps": [[{"step": 20, "from": 20, "to": 120}], [{"step": 8, "from": 50, "to": 180}]],
            "train": [0, 1],
            "noise": {"V": 0.5},
        }
    },
    "parameters": {"ranges": {"g_K": [0.05, 5], "g_L": [0.01, 1]}, "free": ["C_m", "g_L", "g_K", "E_L"]},
    "fit": {"stages": [{"method": "levenberg_marquardt", "iterations": 30, "tolerance": 1.0e-6}]},
}
SPIKING = {
    "model": "pospischil",
    "solver": "exponential_euler",
    "dt": 0.05,
    "initial_state": "steady_state",
    "target": {
        "synthetic": {
            "parameters": {"g_M": 0, "C_m": 1, "E_K": -107, "E_L": -70, "V_T": -60, "g_Na": 25, "g_Kd": 7},
            "duration": 30,
            "sweeps": [[{"step": 2.5, "from": 3, "to": 27}]],
            "noise": {"V": 0.3},
        }
    },
    "parameters": {
        "fixed": {"C_m": 1, "g_M": 0, "E_Na": 50, "E_K": -107, "E_L": -70, "V_T": -60, "tau_max": 1000},
        "ranges": {"g_Na": [10, 60], "g_Kd": [2, 12], "g_L": [0.03, 0.3]},
    },
    "fit": {
        "stages": [
            {"method": "levenberg_marquardt", "nudge": nudge, "iterations": 8} for nudge in (20, 4, 0.8, 0)
        ]
    },
}


def fit(raw, precision):
    """Return the settings, the target and the fit of six starts."""
    checked = from_mapping({"experiments": {"x": {**raw, "precision": precision}}}, ".", "x")
    settings = checked.experiments["x"]
    steady = settings["initial_state"] == "steady_state"
    synthetic = settings["target"]["synthetic"]
    target = synthetic_target(settings["model"], synthetic, settings["dt"], settings["solver"], steady)
    model = load_model(settings["model"])
    starts = draw_starts(model, experiment_parameters(model, settings["parameters"]), range(6), 1)
    training = target.select(target.train)
    before = simulated_starts(experiment_problem(settings, training, starts), starts, training)
    return target, fitted_starts(settings, target, starts, before)


@pytest.mark.parametrize("raw", [GRADED, SPIKING], ids=["graded", "spiking"])
def test_float32_reaches_the_noise_floor_that_float64_reaches(raw):
    target, single = fit(raw, "float32")
    _, double = fit(raw, "float64")
    variance, samples = target.noise["V"] ** 2, target.stimulus[:, target.train].size
    free = sum(row.free for row in single.parameters.values())
    if raw is SPIKING:
        assert np.ptp(target.observed["V"]) > 80
    # Of the mean of n squares of noise the standard deviation is √(2/n) of it.
    floor = pytest.approx(variance * (1 - free / samples), rel=4 * np.sqrt(2 / samples))
    found = double.loss < 1.01 * double.loss.min()
    assert double.loss.min() == floor
    assert single.loss.min() == floor
    assert found.sum() >= 5
    # In float32 a start may end in a flat part of the valley, hardly above the floor.
    np.testing.assert_allclose(single.loss[found], double.loss[found], rtol=0.02)
    same = np.abs(single.loss / double.loss - 1) < 1e-4
    assert same.sum() >= 4
    for name, row in single.parameters.items():
        if row.free:
            np.testing.assert_allclose(
                single.values[name][same], double.values[name][same], rtol=0.01, err_msg=name
            )
