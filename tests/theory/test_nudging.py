"""Nudging: C_m dV/dt = … + K C_m (V_obs - V), against its closed form and its two ends."""

import numpy as np
import pytest
import tensorflow as tf

from odynn.models import MODEL_PATHS
from odynn.models.equations import SOLVERS
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator

STEPS = 40
OWN = ["ResonantMembrane", "Bare", "Original"]


def nudged(dynamics, values, stimulus, observed, nudge):
    """Run a model's step outside any kernel; [time, state, sweep, start]."""
    P = {
        name: tf.constant(np.broadcast_to(value, (stimulus.shape[1], len(value))))
        for name, value in zip(dynamics.model.parameter_names, values, strict=True)
    }
    state = dynamics.initial(P, None)
    gain, steps = tf.constant(nudge, tf.float64), []
    for t in range(len(stimulus)):
        current, seen = tf.constant(stimulus[t][:, None]), tf.constant(observed[t][:, None])
        state = dynamics.advance(state, current, P, gain, seen)
        steps.append(tf.stack(state).numpy())
    return np.array(steps)


@pytest.fixture
def sweeps():
    generator = np.random.default_rng(8)
    return generator.uniform(0.0, 2.0, (STEPS, 2)), generator.uniform(-80.0, 40.0, (STEPS, 2))


def cases(names):
    return [(name, solver) for name in names for solver in SOLVERS]


@pytest.mark.parametrize(("name", "solver"), [*cases(MODEL_PATHS), *((name, SOLVERS[0]) for name in OWN)])
def test_no_gain_is_the_free_run_bit_for_bit(name, solver, load, columns, sweeps):
    model = load(name)
    dynamics = Dynamics(model, 0.1, solver, "float64")
    values, (stimulus, observed) = columns(model, 3), sweeps
    free = nudged(dynamics, values, stimulus, np.zeros_like(observed), 0.0)
    np.testing.assert_array_equal(nudged(dynamics, values, stimulus, observed, 0.0), free)
    assert not np.allclose(nudged(dynamics, values, stimulus, observed, 0.01), free, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", MODEL_PATHS)
def test_no_gain_is_the_unnudged_step_of_arrays(name, solver, load):
    model = load(name)
    state = tuple(np.asarray(model.default_init_state) + 0.01)
    advance = model.membrane.advance
    free = advance(state, 2.0, model.default_params, 0.1, solver=solver)
    assert advance(state, 2.0, model.default_params, 0.1, solver=solver, nudge=0.0, observed=-3.7) == free


@pytest.mark.parametrize(("name", "solver"), [*cases(MODEL_PATHS), *((name, SOLVERS[0]) for name in OWN)])
def test_a_large_gain_holds_the_voltage_at_the_recording(name, solver, load, columns, sweeps):
    model = load(name)
    dynamics = Dynamics(model, 0.1, solver, "float64")
    values, (stimulus, observed) = columns(model, 3), sweeps
    distances = []
    for nudge in (1e2, 1e4, 1e6):
        V = nudged(dynamics, values, stimulus, observed, nudge)[:, model.V_pos]
        distances.append(np.abs(V - observed[..., None]).max())
    if name in OWN:  # operator splitting: the pull comes after the step, and is exponential in K
        assert distances[1] < 1e-9
        assert distances[0] < 0.1
    else:
        assert distances[2] < 1e-2 * 1.0
        # The distance is (what the currents do) / K.
        assert 50 < distances[1] / distances[2] < 200


@pytest.mark.parametrize("dt", [0.1, 2.0])
@pytest.mark.parametrize("nudge", [0.05, 3.0])
def test_a_nudged_leak_follows_its_closed_form(dt, nudge, load):
    P = {"C_m": 1.7, "g_L": 0.23, "E_L": -63.0}
    membrane, state = load("leaky").membrane, (-40.0,)
    for _ in range(10):
        state = membrane.advance(state, 1.5, P, dt, solver="exponential_euler", nudge=nudge, observed=-20.0)
    # dV/dt = -s (V - rest), s = g_L / C_m + K
    speed = P["g_L"] / P["C_m"] + nudge
    rest = (1.5 / P["C_m"] + P["g_L"] * P["E_L"] / P["C_m"] + nudge * -20.0) / speed
    assert state[0] == pytest.approx(rest + (-40.0 - rest) * np.exp(-speed * 10 * dt), rel=1e-12)


def test_implicit_euler_nudges_to_first_order(load):
    P = {"C_m": 1.7, "g_L": 0.23, "E_L": -63.0}
    speed = P["g_L"] / P["C_m"] + 0.5
    rest = (1.5 / P["C_m"] + P["g_L"] * P["E_L"] / P["C_m"] + 0.5 * -20.0) / speed
    errors = []
    for dt in (0.2, 0.1, 0.05):
        state = (-40.0,)
        for _ in range(round(4 / dt)):
            state = load("leaky").membrane.advance(state, 1.5, P, dt, nudge=0.5, observed=-20.0)
        errors.append(abs(state[0] - (rest + (-40.0 - rest) * np.exp(-speed * 4))))
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 1.0, atol=0.06)


@pytest.mark.parametrize("name", OWN)
def test_a_step_of_ones_own_is_nudged_by_operator_splitting(name, load, columns, sweeps):
    model = load(name)
    dynamics = Dynamics(model, 0.1, precision="float64")
    values, (stimulus, observed) = columns(model, 1), sweeps
    free = nudged(dynamics, values, stimulus[:1], observed[:1], 0.0)[0]
    pulled = nudged(dynamics, values, stimulus[:1], observed[:1], 2.5)[0]
    wanted = observed[0][:, None] + (free[model.V_pos] - observed[0][:, None]) * np.exp(-2.5 * 0.1)
    np.testing.assert_allclose(pulled[model.V_pos], wanted, rtol=1e-13)
    others = [place for place in range(len(free)) if place != model.V_pos]
    np.testing.assert_array_equal(pulled[others], free[others])


@pytest.mark.parametrize("name", ["hodgkinhuxley", "Original"])
def test_kernels_pull_to_the_observed_voltage(name, load, columns, make_target, make_problem):
    # With a large gain the voltage of any start is that of the target, so the loss vanishes.
    model = load(name)
    stimulus = np.zeros((60, 2))
    stimulus[10:] = [8.0, 15.0]
    target = make_target(model, 0.05, stimulus)
    problem = make_problem(model, target, {"V": 1.0})
    values = columns(model, 4, spread=0.3)
    free, weak, strong, tight = (problem.errors(values, nudge)[0] for nudge in (0.0, 1.0, 20.0, 1e4))
    assert (weak < free).all()
    assert (strong < weak).all()
    assert (tight < 1e-4 * free).all()


@pytest.mark.parametrize("name", ["hodgkinhuxley", "ResonantMembrane"])
def test_a_compiled_run_without_gain_is_the_simulators(name, load, columns, sweeps):
    model = load(name)
    dynamics = Dynamics(model, 0.1, precision="float64")
    values, (stimulus, observed) = columns(model, 3), sweeps
    traces = Simulator(dynamics).traces(dict(zip(model.parameter_names, values, strict=True)), stimulus)
    found = nudged(dynamics, values, stimulus, observed, 0.0)
    for place, state in enumerate(model.states):
        np.testing.assert_allclose(traces[state], found[:, place], rtol=1e-10, atol=1e-12)
