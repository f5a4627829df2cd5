"""Voltage clamp: exact gates, the current, compiled runs, derivatives, recovery of a channel."""

import numpy as np
import pytest

from odynn.data import Target
from odynn.fitting.losses import make_loss
from odynn.fitting.problem import Problem
from odynn.fitting.schedules import default_stages
from odynn.fitting.staged import fit_stages
from odynn.fitting.starts import draw_starts
from odynn.models import load_model
from odynn.models.clamp import clamped
from odynn.models.equations import SOLVERS
from odynn.simulation.dynamics import Dynamics, experiment_dynamics
from odynn.simulation.simulator import Simulator
from odynn.simulation.synthetic import synthetic_target

# Each step of the command begins where the one before ends, ms and mV.
PIECES = [
    {"step": -80.0, "from": 0, "to": 400},
    {"step": 100.0, "from": 40, "to": 200},
    {"step": -40.0, "from": 200, "to": 280},
    {"sine": 45.0, "frequency": 12.0, "from": 280, "to": 400},
]
SYNTHETIC = {
    "parameters": "default",
    "duration": 400,
    "sweeps": [PIECES, [{"step": -70.0, "from": 0, "to": 400}, {"step": 60.0, "from": 100, "to": 300}]],
    "observed": ["I"],
    "noise": {},
    "seed": 5,
    "train": [0, 1],
    "test": [],
}


def beattie_rates(V, P):
    """Return k1 … k4 of the paper's equations, per ms."""
    return (
        P["p1"] * np.exp(P["p2"] * V),
        P["p3"] * np.exp(-P["p4"] * V),
        P["p5"] * np.exp(P["p6"] * V),
        P["p7"] * np.exp(-P["p8"] * V),
    )


def relaxed(first, V, P, time):
    """Return a and r at times after a step to V, from their values before."""
    k1, k2, k3, k4 = beattie_rates(V, P)
    a = k1 / (k1 + k2) + (first[0] - k1 / (k1 + k2)) * np.exp(-(k1 + k2) * time)
    return a, k4 / (k3 + k4) + (first[1] - k4 / (k3 + k4)) * np.exp(-(k3 + k4) * time)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dt", [0.1, 10.0])
def test_gates_relax_exponentially_however_long_the_steps(dt, solver):
    model = clamped(load_model("herg"))
    neuron = model(None, dt=dt)
    neuron.solver = solver
    P = model.default_params
    held = relaxed((0.0, 1.0), -80.0, P, 1e9)
    np.testing.assert_allclose(model.default_init_state[[0, 1, 2]], [-80.0, *held], rtol=1e-12)
    command = np.repeat([40.0, -120.0], [round(200 / dt), round(50 / dt)])
    states = neuron.calculate(command)
    time = np.arange(1, round(200 / dt) + 1) * dt
    opened = relaxed(held, 40.0, P, time)
    closed = relaxed([gate[-1] for gate in opened], -120.0, P, time[: round(50 / dt)])
    for gate in (0, 1):
        wanted = np.concatenate([opened[gate], closed[gate]])
        np.testing.assert_allclose(states[:, 1 + gate], wanted, rtol=1e-10)
    np.testing.assert_array_equal(states[:, 0], command)
    current = 0.152 * states[:, 1] * states[:, 2] * (command + 88.4)
    np.testing.assert_allclose(states[:, 3], current, rtol=1e-12)
    assert states[:, 3].max() > 0.1 and states[:, 3].min() < -0.5


def test_the_current_of_a_leak_is_ohms_law():
    model = clamped(load_model("leaky"))
    command = np.array([[-60.0, 0.0], [-100.0, 20.0]])
    states = model({"C_m": 5.0, "g_L": 0.3, "E_L": -60.0}, dt=0.1).calculate(command)
    np.testing.assert_allclose(states[:, model.states.index("I")], 0.3 * (command + 60.0), atol=1e-14)
    assert model.state_unit("I") == "µA/cm²"


@pytest.mark.parametrize("name", ["hodgkinhuxley", "celegans", "cortical"])
def test_any_declared_model_rests_and_its_voltage_gates_are_exact(name):
    model = clamped(load_model(name))
    assert model.states == (*load_model(name).states, "I")
    assert not model.spiking
    command = np.repeat([-50.0, -20.0, -90.0], 20)
    rest = model.membrane.steady_state(np.float64(-50.0), model.default_params)
    coarse, fine = (model(None, dt=dt) for dt in (1.0, 0.25))
    for neuron in (coarse, fine):
        neuron._init_state = np.array([float(value) for value in rest])
    slow, quick = coarse.calculate(command), fine.calculate(np.repeat(command, 4))[3::4]
    gates = [1 + place for place, gate in enumerate(model.membrane.gates.values()) if gate.driver == "V"]
    assert gates
    np.testing.assert_allclose(slow[:, gates], quick[:, gates], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(slow[19, gates], np.array(rest)[gates], rtol=1e-12)
    currents = coarse.currents(slow)
    np.testing.assert_allclose(slow[:, -1], sum(currents.values()), rtol=1e-12)
    assert np.ptp(slow[:, -1]) > 0.1


@pytest.mark.parametrize("name", ["herg", "hodgkinhuxley", "celegans"])
def test_compiled_traces_are_those_of_numpy(name, columns):
    model = clamped(load_model(name))
    values = columns(model, 3)
    command = np.stack([np.linspace(-90.0, 30.0, 60), np.repeat([-70.0, 0.0, -110.0], 20)], axis=1)
    initial = command[0]
    runs = []
    neuron = model(dict(zip(model.parameter_names, values, strict=True)), dt=0.5)
    for sweep, V in enumerate(initial):
        rest = model.membrane.steady_state(np.full(3, V), neuron._param)
        neuron._init_state = np.array(np.broadcast_arrays(*rest))
        runs.append(neuron.calculate(command[:, sweep]))
    wanted = np.stack(runs, axis=2)
    for precision, tolerance in (("float64", 1e-10), ("float32", 2e-4)):
        dynamics = Dynamics(model, 0.5, precision=precision)
        given = dict(zip(model.parameter_names, values, strict=True))
        traces = Simulator(dynamics).traces(given, command, initial)
        assert list(traces) == list(model.states)
        for place, state in enumerate(model.states):
            size = np.abs(wanted[:, place]).max()
            np.testing.assert_allclose(traces[state], wanted[:, place], rtol=tolerance, atol=tolerance * size)


def test_derivatives_are_those_of_differences_of_the_numpy_run():
    target = synthetic_target("herg", SYNTHETIC | {"noise": {"I": 0.01}}, 4.0, SOLVERS[0], True)
    model = clamped(load_model("herg"))
    table, starts = model.table(), 2
    free = [name for name, row in table.items() if row.free]
    assert free == ["g_Kr", *(f"p{number}" for number in range(1, 9))]
    dynamics = Dynamics(model, 4.0, precision="float64")
    problem = Problem(dynamics, target, make_loss({"I": 3.0}), table, starts)
    generator = np.random.default_rng(0)
    base = np.array([list(table[name].default for name in table)] * starts, dtype=float).T
    rows = [list(table).index(name) for name in free]
    base[rows] *= generator.uniform(0.8, 1.25, (len(rows), starts))

    def residuals(u, start):
        values = problem.values(u, base)[:, start]
        P = dict(zip(table, values, strict=True))
        found = []
        for sweep, V in enumerate(target.initial):
            neuron = model(P, dt=4.0)
            neuron._init_state = np.array([float(one) for one in model.membrane.steady_state(V, P)])
            current = neuron.calculate(target.stimulus[:, sweep])[:, -1]
            found.append(current - target.observed["I"][:, sweep])
        return np.sqrt(3.0) * np.concatenate(found)

    u = problem.points(base)
    H, g, loss = problem.normal_equations(u, base)
    gradient, same = problem.gradient(u, base)
    np.testing.assert_allclose(loss, same, rtol=1e-12)
    for start in range(starts):
        r = residuals(u, start)
        J = np.empty((r.size, len(free)))
        for place in range(len(free)):
            step = np.zeros_like(u)
            step[place] = 1e-4
            J[:, place] = (residuals(u + step, start) - residuals(u - step, start)) / 2e-4
        number = target.stimulus.size
        assert loss[start] == pytest.approx(r @ r / number, rel=1e-10)
        size = np.sqrt(np.diag(J.T @ J / number))
        assert (size > 0).all()
        np.testing.assert_allclose(
            H[..., start] / np.outer(size, size), J.T @ J / number / np.outer(size, size), atol=1e-5
        )
        unit = size * np.sqrt(loss[start])
        np.testing.assert_allclose(g[:, start] / unit, J.T @ r / number / unit, atol=1e-5)
        np.testing.assert_allclose(gradient[:, start] / unit, 2 * J.T @ r / number / unit, atol=1e-5)


def test_known_rates_come_back():
    # Long steps, tails and a sine, so that the data tell conductance and activation apart.
    longer = [
        {"step": -80.0, "from": 0, "to": 2400},
        {"step": 120.0, "from": 100, "to": 1100},
        {"step": -40.0, "from": 1100, "to": 1400},
        {"step": 50.0, "from": 1400, "to": 2400},
        {"sine": 60.0, "frequency": 3.0, "from": 1400, "to": 2400},
    ]
    other = [{"step": -70.0, "from": 0, "to": 2400}, {"step": 70.0, "from": 200, "to": 1700}]
    settings = SYNTHETIC | {"duration": 2400, "sweeps": [longer, other], "noise": {"I": 1e-3}}
    target = synthetic_target("herg", settings, 1.0, SOLVERS[0], True)
    assert isinstance(target, Target) and target.clamp == "voltage"
    assert target.units["I"] == "nA" and target.units["stimulus"] == "mV"
    np.testing.assert_array_equal(target.initial, [-80.0, -70.0])
    settings = {"model": "herg", "dt": 1.0, "solver": SOLVERS[0], "precision": "float32"}
    dynamics = experiment_dynamics(settings, target.clamp)
    table = dynamics.model.table()
    starts = draw_starts(dynamics.model, table, range(16), seed=2)
    base = np.array(list(starts.values.values()))
    problem = Problem(dynamics, target, make_loss({"I": 1.0}), table, 16)
    u = problem.points(base)
    found = fit_stages(problem, u, base, problem.losses(u, base), default_stages(dynamics.model.spiking))
    best = np.argmin(found.loss)
    assert found.loss[best] == pytest.approx(1e-6, rel=0.2)  # the variance of the noise
    assert np.sum(found.loss < 1.5e-6) >= 4
    values = problem.values(found.u, base)[:, best]
    for name, value in zip(table, values, strict=True):
        assert value == pytest.approx(target.truth[name], rel=0.05), name
