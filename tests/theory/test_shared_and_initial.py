"""Derivatives by parameters that share a value and by initial values of states, in float64.

The reference is the numpy run of the model, differentiated by central differences.
"""

from dataclasses import replace

import numpy as np
import pytest

from odynn.fitting import levenberg_marquardt
from odynn.fitting.losses import make_loss
from odynn.fitting.problem import Problem
from odynn.models import experiment_parameters
from odynn.models.model import BioNeuron
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator

STARTS, LENGTH, STEP = 3, 70, 1e-3
REST = np.array([-72.0, -55.0])


def run(model, solver, target, values):
    """Return the voltage of the free run in numpy, [time, sweep, column], from parameters [column]."""
    neuron = model({name: values[name] for name in model.parameter_names}, dt=target.dt)
    neuron.solver = solver
    columns = len(values[model.parameter_names[0]])
    runs = []
    for sweep in range(target.stimulus.shape[1]):
        if target.initial is None:
            state = list(model.default_init_state)
        else:
            state = list(model.membrane.steady_state(np.full(columns, target.initial[sweep]), values))
        for place, name in enumerate(model.states):
            state[place] = values.get(f"{name}__initial", state[place])
        neuron._init_state = np.array([np.broadcast_to(one, columns) for one in state])
        runs.append(neuron.calculate(target.stimulus[:, sweep : sweep + 1])[:, model.V_pos, 0])
    return np.stack(runs, axis=1)


def by_differences(model, solver, target, problem, rows, u, base):
    """Return the loss, JᵀJ and Jᵀr of every start, the residuals differentiated by each coordinate."""
    found = []
    for start in range(u.shape[1]):
        moves = [np.zeros((1, len(u))), *(k * STEP * np.eye(len(u)) for k in (1, -1, 2, -2))]
        points = u[:, start : start + 1] + np.concatenate(moves).T
        named = {name: np.full(points.shape[1], base[place, start]) for place, name in enumerate(rows)}
        named |= dict(zip(problem.transform.parameters, problem.transform.forward(points), strict=True))
        named |= {name: named[row.follows] for name, row in rows.items() if row.follows}
        errors = run(model, solver, target, named) - target.observed["V"][..., None]
        r, *moved = np.split(
            errors.reshape(-1, points.shape[1]), [1, *(1 + k * len(u) for k in (1, 2, 3))], 1
        )
        J = (8 * (moved[0] - moved[1]) - (moved[2] - moved[3])) / (12 * STEP)
        found.append((np.mean(r**2), J.T @ J / len(r), J.T @ r[:, 0] / len(r)))
    return [np.stack(part, axis=-1) for part in zip(*found, strict=True)]


# model: solver, voltages of the sweeps at rest, changes of the table, free parameters and states. What has
# next to no influence is left out: differences cannot tell it.
CASES = {
    "celegans": (
        "implicit_euler",
        None,
        {
            "shared": {"tau": ["n__tau", "f__tau", "p__tau"], "mdp": ["n__mdp", "e__mdp"], "x": ["e", "p"]},
            # Calcium where it inactivates.
            "bounds": {"Ca": [4, 9]},
        },
        ["C_m", "g_Ks", "n__tau", "n__mdp", "e", "f", "Ca"],
    ),
    "hodgkinhuxley": (
        "exponential_euler",
        REST,
        {"shared": {"g": ["g_K", "g_L"]}, "fixed": {"m": 0.1}},
        ["g_Na", "E_K", "g_K", "h", "n"],
    ),
    "ResonantMembrane": (
        "implicit_euler",
        None,
        {"shared": {"a": ["g_L", "g_w"]}, "bounds": {"x1": [-30, 30]}},
        ["C_m", "g_L", "tau_w", "x1"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name, load, make_target):
    solver, rest, changes, free = CASES[name]
    model = load(name)

    def called(names):
        return [f"{key}__initial" if key in model.states else key for key in names]

    changes = {
        "free": called(free),
        "shared": {group: called(names) for group, names in changes["shared"].items()},
        **{
            key: dict(zip(called(changes[key]), changes[key].values(), strict=True))
            for key in ("bounds", "fixed")
            if key in changes
        },
    }
    rows = experiment_parameters(model, changes, "fitted")
    assert sum(bool(row.follows) for row in rows.values()) >= 1
    dt = {"celegans": 2.0, "hodgkinhuxley": 0.04, "ResonantMembrane": 1.0}[name]
    stimulus = np.zeros((LENGTH, 2))
    stimulus[10:] = [6.0, 12.0]
    stimulus[40:, 0] = 0.0
    given = rest if model.step is BioNeuron.step else None
    target = make_target(model, dt, stimulus, initial=given, solver=solver)
    dynamics = Dynamics(model, dt, solver, "float64")
    problem = Problem(dynamics, target, make_loss({"V": 1.0}), rows, STARTS)

    generator = np.random.default_rng(3)
    base = np.array([np.full(STARTS, row.default) for row in rows.values()])
    u = problem.points(base)
    u = np.clip(u, -4, 4) + generator.uniform(-0.3, 0.3, u.shape)
    base = problem.values(u, base)
    for place, row in enumerate(rows.values()):
        if row.follows:
            np.testing.assert_array_equal(base[place], base[list(rows).index(row.follows)])

    loss, H, g = by_differences(model, solver, target, problem, rows, u, base)
    found_H, found_g, found_loss = problem.normal_equations(u, base)
    np.testing.assert_allclose(found_loss, loss, rtol=1e-9)
    size = np.sqrt(np.einsum("iin->in", H))
    assert (size > 0).all(), "a parameter without influence tests nothing"
    np.testing.assert_allclose(found_H / size[:, None] / size, H / size[:, None] / size, atol=1e-5)
    unit = size * np.sqrt(loss)
    np.testing.assert_allclose(found_g / unit, g / unit, atol=1e-5)
    found_gradient, found_loss = problem.gradient(u, base)
    np.testing.assert_allclose(found_loss, loss, rtol=1e-9)
    np.testing.assert_allclose(found_gradient / unit, 2 * g / unit, atol=2e-5)

    # The simulator begins where the fit does.
    values = dict(zip(rows, base, strict=True))
    traces = Simulator(dynamics).traces(values, target.stimulus, target.initial)
    errors = traces["V"] - target.observed["V"][..., None]
    np.testing.assert_allclose(np.mean(errors**2, axis=(0, 1)), loss, rtol=1e-9)


def test_only_initial_values_that_the_experiment_has_are_set(load):
    # A model with a parameter of its own that is called like one keeps its initial state.
    class Named(load("leaky")):
        default_params = {**load("leaky").default_params, "V__initial": 3.0}

    values = {name: np.array([value]) for name, value in Named.default_params.items()}
    traces = Simulator(Dynamics(Named, 0.1, precision="float64")).traces(values, np.zeros((1, 1)))
    assert traces["V"][0, 0, 0] == pytest.approx(-60.0)


def test_a_fit_recovers_the_initial_state(load, make_target):
    model = load("hodghuxsimple")
    stimulus = np.zeros((100, 2))
    stimulus[20:60] = [3.0, 8.0]
    target = make_target(model, 2.0, stimulus, scale=1.0)
    # Not where the model itself would begin, which is 0 and 1.
    truth = {**target.truth, "a__initial": 0.3, "b__initial": 0.6}
    columns = {name: np.array([value]) for name, value in truth.items()}
    target = replace(target, observed={"V": run(model, "implicit_euler", target, columns)[..., 0]})
    free = ["g_K", "a__initial", "b__initial"]
    rows = experiment_parameters(model, {"free": free}, "fitted")
    problem = Problem(Dynamics(model, 2.0, precision="float64"), target, make_loss({"V": 1.0}), rows, 2)
    base = np.array([np.full(2, row.default) for row in rows.values()])
    places = [list(rows).index(name) for name in free]
    base[places] = [[0.2, 1.0], [0.1, 0.8], [0.9, 0.3]]
    found = levenberg_marquardt.minimise(problem, problem.points(base), base, iterations=60, tolerance=1e-9)
    values = problem.values(found.u, base)[places]
    np.testing.assert_allclose(values, np.array([[truth[name]] * 2 for name in free]), rtol=1e-3)
