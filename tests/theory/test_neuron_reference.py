"""HodgkinHuxley against NEURON's own squid axon, stored in reference/ with the script that made it."""

import csv
from pathlib import Path

import numpy as np
import pytest

from odynn.models import load_model

FILE = Path(__file__).parent / "reference" / "hh_neuron.csv"
DENSITY, FROM, TO, END = 10.0, 5.0, 45.0, 60.0  # as in reference/make_hh_neuron.py


@pytest.fixture(scope="module")
def neuron():
    """Give NEURON's time [time], states [time, state] and upward crossings of 0 mV."""
    lines = FILE.read_text("utf-8").splitlines()
    crossings = next(line for line in lines if "crossings" in line).partition(":")[2].split()
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    assert rows[0] == ["time_ms", "V_mV", "m", "h", "n"]
    table = np.array(rows[1:], dtype=float)
    assert table.shape == (240, 5)
    assert len(crossings) == 3
    return table[:, 0], table[:, 1:], np.array(crossings, dtype=float)


@pytest.fixture(scope="module")
def runs():
    """Give the states [time, state] and the crossings of a solver at a step, each computed once."""
    kept = {}

    def run(solver, dt):
        if (solver, dt) not in kept:
            model = load_model("hodgkinhuxley")(dt=dt)
            model.solver = solver
            time = np.arange(1, round(END / dt) + 1) * dt
            inside = (time - dt / 2 > FROM) & (time - dt / 2 < TO)
            states = model.calculate(DENSITY * inside)
            V = states[:, 0]
            rise = np.flatnonzero((V[:-1] < 0) & (V[1:] >= 0))
            kept[solver, dt] = states, time[rise] - dt * V[rise] / (V[rise + 1] - V[rise])
        return kept[solver, dt]

    return run


def at(times, states, dt):
    return states[np.rint(times / dt).astype(int) - 1]


@pytest.mark.parametrize(("solver", "order"), [("implicit_euler", 1), ("exponential_euler", 2)])
def test_spike_times_converge_to_neurons(neuron, runs, solver, order):
    _, _, crossings = neuron
    coarse, fine = runs(solver, 0.0125)[1], runs(solver, 0.00625)[1]
    assert len(coarse) == len(fine) == 3
    # Both are of the order said, so the next two terms of the expansion leave next to nothing:
    # a microsecond.
    extrapolated = fine + (fine - coarse) / (2**order - 1)
    np.testing.assert_allclose(extrapolated, crossings, atol=1e-3)
    np.testing.assert_allclose((coarse - crossings) / (fine - crossings), 2.0**order, rtol=0.1)
    assert np.abs(fine - crossings).max() < (0.2 if order == 1 else 0.002)


def test_the_voltage_converges_to_neurons(neuron, runs):
    times, reference, _ = neuron
    coarse, fine = (at(times, runs("exponential_euler", dt)[0], dt)[:, 0] for dt in (0.0125, 0.00625))
    assert np.abs(fine - reference[:, 0]).max() < 0.5
    # In the middle of an upstroke of 300 mV/ms.
    assert np.abs((4 * fine - coarse) / 3 - reference[:, 0]).max() < 2e-3


def test_the_gates_converge_to_neurons(neuron, runs):
    times, reference, _ = neuron
    steps = np.array([0.0125, 0.00625])
    errors = np.array(
        [
            np.abs(at(times, runs("exponential_euler", dt)[0], dt) - reference)[:, 1:].max(axis=0)
            for dt in steps
        ]
    )
    np.testing.assert_allclose(errors[0] / errors[1], 2.0, rtol=0.15)
    assert (errors[1] < 0.05).all()


def test_between_spikes_the_implicit_solver_agrees_too(neuron, runs):
    times, reference, crossings = neuron
    quiet = (times < crossings[0] - 0.5) | (np.abs(times - 18.0) < 1.0)
    assert quiet.sum() > 20
    found = at(times, runs("implicit_euler", 0.00625)[0], 0.00625)
    assert np.abs(found - reference)[quiet, 0].max() < 0.25
    assert np.abs(found - reference)[quiet, 1:].max() < 0.005
