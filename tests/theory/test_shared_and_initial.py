"""Derivatives by parameters that share a value and by initial values of states, in float64.

The reference is the numpy run of the model, differentiated by central differences.
"""

from dataclasses import replace

import numpy as np
import pytest

from odynn.fitting.losses import SquaredError
from odynn.fitting.problem import Problem
from odynn.models import experiment_parameters
from odynn.models.model import BioNeuron
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator

STARTS, LENGTH, STEP = 3, 70, 1e-3
REST = np.array([-72.0, -55.0])


def run(model, solver, target, values):
    """Return the voltage of the free run, [time, sweep], from parameters by name, in numpy."""
    neuron = model({name: values[name] for name in model.parameter_names}, dt=target.dt)
    neuron.solver = solver
    runs = []
    for sweep in range(target.stimulus.shape[1]):
        if target.initial is None:
            state = np.array(model.default_init_state, dtype=float)
        else:
            rest = model.membrane.steady_state(np.float64(target.initial[sweep]), values)
            state = np.array([float(x) for x in rest])
        for place, name in enumerate(model.states):
            state[place] = values.get(f"{name}__initial", state[place])
        neuron._init_state = state
        runs.append(neuron.calculate(target.stimulus[:, sweep])[:, model.V_pos])
    return np.stack(runs, axis=1)


def by_differences(model, solver, target, problem, rows, u, base):
    """Return the loss, JᵀJ and Jᵀr of every start, the residuals differentiated by each coordinate."""
    found = []
    for start in range(u.shape[1]):

        def residuals(point, start=start):
            values = problem.transform.forward(point[:, None])[:, 0]
            named = dict(zip(rows, base[:, start], strict=True))
            named |= dict(zip(problem.transform.parameters, values, strict=True))
            named |= {name: named[row.follows] for name, row in rows.items() if row.follows}
            return (run(model, solver, target, named) - target.observed["V"]).ravel()

        J = []
        for place in range(len(u)):
            move = STEP * np.eye(len(u))[place]
            near = residuals(u[:, start] + move) - residuals(u[:, start] - move)
            far = residuals(u[:, start] + 2 * move) - residuals(u[:, start] - 2 * move)
            J.append((8 * near - far) / (12 * STEP))
        J, r = np.array(J), residuals(u[:, start])
        found.append((np.mean(r**2), J @ J.T / r.size, J @ r / r.size))
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
    "pospischil": (
        "exponential_euler",
        REST,
        # The steady state of the states that are not fitted depends on V_T.
        {"shared": {"g": ["g_Kd", "g_M"]}, "fixed": {"p": 0.2, "m": 0.1}},
        ["g_Na", "V_T", "g_Kd", "h", "n"],
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
    dt = {"celegans": 2.0, "pospischil": 0.04, "ResonantMembrane": 1.0}[name]
    stimulus = np.zeros((LENGTH, 2))
    stimulus[10:] = [6.0, 12.0]
    stimulus[40:, 0] = 0.0
    given = rest if model.step is BioNeuron.step else None
    target = make_target(model, dt, stimulus, initial=given, solver=solver)
    dynamics = Dynamics(model, dt, solver, "float64")
    problem = Problem(dynamics, target, SquaredError({"V": 1.0}), rows, STARTS)

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
    model = load("celegans")
    stimulus = np.zeros((150, 2))
    stimulus[20:90] = [10.0, 25.0]
    target = make_target(model, 2.0, stimulus, scale=1.0)
    rows = experiment_parameters(
        model, {"free": ["g_Ks", "q__initial", "n__initial", "f__initial"]}, "fitted"
    )
    # Where the truth begins is inside the box: 0.4 rather than the model's own 0.0.
    truth = {**target.truth, "n__initial": 0.4}
    start = replace(target, observed={"V": run(model, "implicit_euler", target, truth)})
    problem = Problem(Dynamics(model, 2.0, precision="float64"), start, SquaredError({"V": 1.0}), rows, 2)
    base = np.array([np.full(2, row.default) for row in rows.values()])
    places = [list(rows).index(name) for name in ("g_Ks", "q__initial", "n__initial", "f__initial")]
    base[places] = [[6.0, 14.0], [0.6, 0.5], [0.1, 0.8], [0.5, 0.7]]

    from odynn.fitting import levenberg_marquardt

    found = levenberg_marquardt.minimise(problem, problem.points(base), base, iterations=60, tolerance=1e-9)
    values = problem.values(found.u, base)
    assert (found.loss < 1e-6).all()
    np.testing.assert_allclose(values[list(rows).index("n__initial")], 0.4, atol=2e-3)
    np.testing.assert_allclose(values[list(rows).index("q__initial")], 0.95, atol=2e-2)
    np.testing.assert_allclose(values[list(rows).index("g_Ks")], 10.0, rtol=2e-3)
