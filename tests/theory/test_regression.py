"""Conductances from the recorded voltage: known kinetics give them back, and any kinetics a better start."""

from dataclasses import replace

import numpy as np
import pytest

from odynn.data import Starts
from odynn.errors import FitError
from odynn.fitting.regression import regressed_starts, window_steps
from odynn.fitting.starts import draw_starts
from odynn.models import experiment_parameters, load_model
from odynn.simulation.synthetic import synthetic_target

GRADED = {
    "parameters": "default",
    "duration": 800,
    "sweeps": [
        [{"step": 10, "from": 100, "to": 400}, {"step": 20, "from": 500, "to": 650}],
        [{"step": 5, "from": 100, "to": 200}, {"step": 30, "from": 300, "to": 700}],
    ],
    "train": [0, 1],
    "test": [],
    "observed": ["V"],
    "noise": {},
    "seed": 2,
}
SPIKING = GRADED | {
    "parameters": {"C_m": 1, "g_Na": 25, "g_Kd": 7, "g_L": 0.1, "g_M": 0.07, "V_T": -60},
    "duration": 100,
    "sweeps": [[{"step": 3.0, "from": 10, "to": 90}], [{"step": 5.0, "from": 20, "to": 60}]],
}
NOISY = {"V": 0.3}
CASES = [
    ("celegans", "implicit_euler", 1.0, GRADED, False),
    ("celegans", "exponential_euler", 0.5, GRADED, True),
    ("pospischil", "implicit_euler", 0.04, SPIKING, True),
    ("pospischil", "exponential_euler", 0.04, SPIKING, False),
]


def target_of(name, solver, dt, synthetic, rest=False, **changes):
    return synthetic_target(name, {**synthetic, **changes}, dt, solver, rest)


def wrong(model, target, changes=None):
    """Return the true kinetics with a third of what a regression finds, and the names of that."""
    rows = experiment_parameters(model, changes or {})
    linear = {current.conductance for current in model.membrane.currents.values()}
    linear |= set() if model.spiking else {"C_m"}
    values = {
        name: np.array([target.truth[name] / (3.0 if name in linear and row.free else 1.0)])
        for name, row in rows.items()
    }
    return Starts(np.array([0]), values, rows), linear


@pytest.mark.parametrize(("name", "solver", "dt", "synthetic", "rest"), CASES)
def test_known_kinetics_give_the_conductances_back(name, solver, dt, synthetic, rest):
    model, target = load_model(name), target_of(name, solver, dt, synthetic, rest)
    starts, linear = wrong(model, target)
    found = regressed_starts(model, starts, target, solver)
    assert len(linear) == 4 + (name == "celegans")
    for key, values in found.values.items():
        if key in linear:
            assert values[0] == pytest.approx(target.truth[key], rel=0.04), key
        else:
            assert values[0] == starts.values[key][0]


def test_noise_is_averaged_out():
    model, target = load_model("pospischil"), target_of("pospischil", "exponential_euler", 0.04, SPIKING)
    noisy = target_of("pospischil", "exponential_euler", 0.04, SPIKING, noise=NOISY)
    assert window_steps(target.observed["V"]) == 4
    assert window_steps(noisy.observed["V"]) > 4
    starts, _ = wrong(model, noisy)
    found = regressed_starts(model, starts, noisy, "exponential_euler").values
    for key in ("g_Na", "g_Kd"):
        assert found[key][0] == pytest.approx(noisy.truth[key], rel=0.03), key
    assert found["g_L"][0] == pytest.approx(0.1, rel=0.3)


def test_what_is_fixed_or_shared_stays_so():
    model, target = load_model("celegans"), target_of(*CASES[0])
    starts, _ = wrong(model, target, {"fixed": {"g_Ks": 10.0, "C_m": 20.0}})
    found = regressed_starts(model, starts, target, "implicit_euler").values
    assert (found["g_Ks"][0], found["C_m"][0]) == (10.0, 20.0)
    assert found["g_Ca"][0] == pytest.approx(3.0, rel=0.02)

    # Two conductances of a group are one unknown, whose columns add up.
    even = target_of(*CASES[0], parameters={"g_Ks": 4.0, "g_Ca": 4.0})
    starts, _ = wrong(model, even, {"shared": {"g": ["g_Ca", "g_Ks"]}})
    found = regressed_starts(model, starts, even, "implicit_euler").values
    assert found["g_Ca"][0] == found["g_Ks"][0] == pytest.approx(4.0, rel=0.02)


def test_conductances_stay_within_the_range_of_starts():
    model, target = load_model("celegans"), target_of(*CASES[0])
    ranges = {"g_Ca": [4.0, 5.0], "g_Ks": [1.0, 5.0], "g_L": [1e-4, 1e-3]}
    starts, _ = wrong(model, target, {"ranges": ranges})
    found = regressed_starts(model, starts, target, "implicit_euler").values
    for name, (lower, upper) in ranges.items():
        assert lower < found[name][0] < upper, name
    assert found["g_Ks"][0] > 4.5


def test_initial_values_drive_the_gates():
    # The truth begins far from the steady state, which the model's own initial state does not know.
    model = load_model("celegans")
    target = synthetic_target("celegans", GRADED, 1.0, "implicit_euler", False, True)
    assert target.truth["q__initial"] == 0.95
    rows = experiment_parameters(model, {}, "fitted")
    values = {name: np.full(2, target.truth[name]) for name in rows}
    values["f__initial"] = np.array([1.0, 0.2])
    found = regressed_starts(model, Starts(np.arange(2), values, rows), target, "implicit_euler").values
    assert found["g_Ca"][0] == pytest.approx(3.0, rel=0.01)
    assert found["g_Ca"][1] != pytest.approx(3.0, rel=0.01)
    np.testing.assert_array_equal(found["f__initial"], [1.0, 0.2])


@pytest.mark.parametrize(
    ("name", "dt", "synthetic"), [("celegans", 2.0, GRADED), ("pospischil", 0.05, SPIKING)]
)
def test_a_start_does_not_depend_on_its_neighbours(name, dt, synthetic):
    model, target = load_model(name), target_of(name, "implicit_euler", dt, synthetic, noise=NOISY)
    rows = model.table()
    found = regressed_starts(model, draw_starts(model, rows, range(5), 1), target, "implicit_euler")
    alone = regressed_starts(model, draw_starts(model, rows, [4], 1), target, "implicit_euler")
    for key in rows:
        assert found.values[key][4] == alone.values[key][0]


def test_random_kinetics_get_the_currents_that_the_recording_needs():
    model, dt = load_model("celegans"), 2.0
    target = target_of("celegans", "implicit_euler", dt, GRADED, noise=NOISY)
    drawn = draw_starts(model, model.table(), range(8), 1)
    V = target.observed["V"]

    def misfit(starts):
        """Return the mean square of the current that is missing at each step, [start]."""
        found = []
        for place in range(8):
            P = {key: np.float64(column[place]) for key, column in starts.values.items()}
            state = [np.full(2, value) for value in model.default_init_state]
            missing = []
            for t in range(len(V)):
                # One step at a time, each from the recorded voltage.
                new = model.membrane.advance(tuple(state), target.stimulus[t], P, dt)
                missing.append((V[t] - new[0]) * P["C_m"] / dt)
                state = [V[t], *new[1:]]
            found.append(np.mean(np.array(missing) ** 2))
        return np.array(found)

    before = misfit(drawn)
    after = misfit(regressed_starts(model, drawn, target, "implicit_euler"))
    assert (after < before).all()
    assert np.median(after) < 0.2 * np.median(before)


def test_artefacts_where_the_stimulus_jumps_are_passed_over():
    model, target = load_model("celegans"), target_of(*CASES[0])
    spoilt = target.observed["V"].copy()
    jumps = np.abs(np.diff(target.stimulus, axis=0, prepend=0.0)) > 0
    assert jumps.sum() == 8
    spoilt[jumps] += 15.0
    starts, _ = wrong(model, target)
    found = regressed_starts(model, starts, replace(target, observed={"V": spoilt}), "implicit_euler").values
    assert found["g_Ca"][0] == pytest.approx(3.0, rel=0.2)
    assert found["g_Ks"][0] == pytest.approx(10.0, rel=0.2)


def test_a_target_without_a_voltage():
    model = load_model("celegans")
    target = target_of(*CASES[0], observed=["Ca"])
    starts, _ = wrong(model, target)
    with pytest.raises(FitError, match=r"starts\.regression: .*Received: a target with Ca only\. Set"):
        regressed_starts(model, starts, target, "implicit_euler")
