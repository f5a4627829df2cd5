"""What can be worked out by hand: the leaky neuron, resting states, gates between 0 and 1."""

import numpy as np
import pytest

from odynn.models import MODEL_PATHS, load_model
from odynn.models.equations import SOLVERS

LEAK = {"C_m": 1.7, "g_L": 0.23, "E_L": -63.0}


def leaky(time, stimulus, start=-60.0):
    rest = LEAK["E_L"] + stimulus / LEAK["g_L"]
    return rest + (start - rest) * np.exp(-time * LEAK["g_L"] / LEAK["C_m"])


@pytest.mark.parametrize("dt", [0.01, 0.5, 20.0])
def test_exponential_euler_solves_a_leak_exactly(dt):
    neuron = load_model("leaky")(LEAK, dt=dt)
    neuron.solver = "exponential_euler"
    time = np.arange(1, 41) * dt
    np.testing.assert_allclose(neuron.calculate(np.full(40, 1.9))[:, 0], leaky(time, 1.9), rtol=1e-13)


def test_exponential_euler_solves_a_leak_exactly_under_a_piecewise_stimulus():
    neuron = load_model("leaky")(LEAK, dt=0.7)
    neuron.solver = "exponential_euler"
    found = neuron.calculate(np.repeat([2.0, -3.0], 10))[:, 0]
    time = np.arange(1, 11) * 0.7
    np.testing.assert_allclose(found[:10], leaky(time, 2.0), rtol=1e-13)
    np.testing.assert_allclose(found[10:], leaky(time, -3.0, start=found[9]), rtol=1e-13)


def test_implicit_euler_solves_a_leak_to_first_order():
    neuron = load_model("leaky")
    steps = np.array([0.4, 0.2, 0.1, 0.05])
    errors = [
        abs(neuron(LEAK, dt=dt).calculate(np.full(round(8 / dt), 1.9))[-1, 0] - leaky(8.0, 1.9))
        for dt in steps
    ]
    assert 0.95 < np.polyfit(np.log(steps), np.log(errors), 1)[0] < 1.05
    # Backward Euler of dx/dt = -x / tau divides by 1 + dt / tau a step.
    rest, tau = LEAK["E_L"] + 1.9 / LEAK["g_L"], LEAK["C_m"] / LEAK["g_L"]
    found = neuron(LEAK, dt=0.4).calculate(np.full(20, 1.9))[-1, 0]
    assert found == pytest.approx(rest + (-60.0 - rest) / (1 + 0.4 / tau) ** 20, rel=1e-13)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dt", [1.0, 100.0, 1e6])
def test_both_solvers_are_stable_at_any_step(solver, dt):
    neuron = load_model("leaky")(LEAK, dt=dt)
    neuron.solver = solver
    V = neuron.calculate(np.full(200, 1.9))[:, 0]
    rest = LEAK["E_L"] + 1.9 / LEAK["g_L"]
    assert (np.diff(np.abs(V - rest)) <= 1e-12).all()
    assert V[-1] == pytest.approx(rest, rel=1e-6)


def test_one_step_of_each_solver_by_hand():
    # C. elegans, from no special state; the order matters: V with the old gates, gates with the new V,
    # calcium with the new V and the old conductance.
    model = load_model("celegans")
    P, dt, I = model.default_params, 0.7, 12.0
    V, p, q, n, e, f, Ca = X = np.array([-30.0, 0.2, 0.5, 0.3, 0.4, 0.9, 4.0])
    h = 1 + (1 / (1 + np.exp((P["h__mdp"] - Ca) / P["h__scale"])) - 1) * P["h__alpha"]
    g = {"E_K": P["g_Kf"] * p**4 * q + P["g_Ks"] * n, "E_Ca": P["g_Ca"] * e**2 * f * h, "E_L": P["g_L"]}
    G, drive = sum(g.values()), I + sum(g[E] * P[E] for E in g)

    def check(solver, new_V, relax):
        neuron = model(dt=dt)
        neuron.solver = solver
        wanted = [new_V]
        for gate, x in zip("pqnef", X[1:6], strict=True):
            steady = 1 / (1 + np.exp((P[f"{gate}__mdp"] - new_V) / P[f"{gate}__scale"]))
            wanted.append(relax(x, steady, P[f"{gate}__tau"]))
        inflow = -P["rho_ca"] * g["E_Ca"] * (new_V - P["E_Ca"])
        wanted.append(relax(Ca, inflow * P["decay_ca"], P["decay_ca"]))
        np.testing.assert_allclose(neuron.step(X, I), wanted, rtol=1e-12)

    C = P["C_m"]
    check(
        "implicit_euler",
        (V * C / dt + drive) / (C / dt + G),
        lambda x, steady, tau: (tau * x + dt * steady) / (tau + dt),
    )
    check(
        "exponential_euler",
        drive / G + (V - drive / G) * np.exp(-dt * G / C),
        lambda x, steady, tau: steady + (x - steady) * np.exp(-dt / tau),
    )


def parameter_sets(model, number=6):
    generator = np.random.default_rng(11)
    return [dict(model.default_params), *(model.get_random(generator) for _ in range(number - 1))]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", [name for name in MODEL_PATHS if name != "leaky"])
def test_gates_stay_between_0_and_1(name, solver):
    model = load_model(name)
    neuron = model(parameter_sets(model), dt=1.0)  # coarse, and parameters from all of the ranges
    neuron.solver = solver
    stimulus = np.repeat([0.0, 30.0, -20.0, 5.0], 50)
    # The steepest rates overflow to an infinite speed, at which a gate is at its steady state.
    with np.errstate(over="ignore"):
        states = neuron.calculate(stimulus)
    assert np.isfinite(states).all()
    gates = [model.states.index(gate) for gate in model.membrane.gates]
    assert len(gates) >= 2
    assert states[:, gates].min() >= 0.0
    assert states[:, gates].max() <= 1.0
    assert np.ptp(states[:, gates], axis=0).max() > 0.1  # they did move


VOLTAGES = [-80.0, -60.0, -35.0, -10.0, 15.0]


def moved_from_rest(model, P, V, solver, dt):
    """Return the steady state for V, and where one step goes under the stimulus that balances it."""
    neuron = model(P, dt=dt)
    neuron.solver = solver
    rest = np.array(model.membrane.steady_state(np.float64(V), P))
    balance = sum(float(current[0]) for current in neuron.currents(rest[None]).values())
    return rest, neuron.step(rest, balance)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dt", [0.1, 1e5])  # after so long a step everything is where it tends to
@pytest.mark.parametrize("name", MODEL_PATHS)
def test_a_steady_state_rests(name, dt, solver):
    model = load_model(name)
    number = 1 + len(model.membrane.gates)
    sets = parameter_sets(model)
    assert len(sets) == 6
    for P in sets:
        for V in VOLTAGES:
            rest, moved = moved_from_rest(model, P, V, solver, dt)
            assert rest[0] == V
            np.testing.assert_allclose(moved[:number], rest[:number], rtol=1e-10, atol=1e-10, err_msg=str(P))


@pytest.mark.parametrize("solver", SOLVERS)
def test_calcium_rests_too(solver):
    model = load_model("celegans")
    for P in parameter_sets(model):
        for V in VOLTAGES:
            rest, moved = moved_from_rest(model, P, V, solver, dt=1e5)
            assert moved[-1] == pytest.approx(rest[-1], rel=1e-3, abs=1e-6), (V, P)


@pytest.mark.parametrize("name", ["hodgkinhuxley", "pospischil"])
def test_the_initial_state_is_at_rest_but_for_the_voltage(name):
    model = load_model(name)
    V = model.default_init_state[0]
    assert V == {"hodgkinhuxley": -65.0, "pospischil": -70.0}[name]
    rest = model.membrane.steady_state(V, model.default_params)
    np.testing.assert_allclose(model.default_init_state, rest, rtol=1e-14)


def test_the_squid_axon_rests_where_it_is_known_to():
    # m, h and n at -65 mV by the rates of Hodgkin and Huxley, worked out by hand.
    found = load_model("hodgkinhuxley").default_init_state
    a_m, b_m = 2.5 / (np.exp(2.5) - 1), 4.0
    a_h, b_h = 0.07, 1 / (np.exp(3.0) + 1)
    a_n, b_n = 0.1 / (np.exp(1.0) - 1), 0.125
    np.testing.assert_allclose(
        found[1:], [a_m / (a_m + b_m), a_h / (a_h + b_h), a_n / (a_n + b_n)], rtol=1e-13
    )
