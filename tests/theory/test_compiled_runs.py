"""The compiled simulator against numpy, and starts against the company they are computed in.

A start's bits must not depend on how many others there are, or one shard and ten would not give the
same fit.
"""

import numpy as np
import pytest

from odynn.models import MODEL_PATHS
from odynn.models.equations import SOLVERS
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator

STEPS, SWEEPS, STARTS = 120, 2, 3
DT = {"celegans": 1.0, "hodghuxsimple": 1.0, "hodgkinhuxley": 0.02, "pospischil": 0.02}  # elsewhere 0.2
OWN = ["ResonantMembrane", "Bare", "Original", "AssignedLater"]
# herg has no leak, so that the resting voltage of the exponential solver is beyond float32; it is for
# voltage clamp, see test_clamp.py.
ALL = [(name, solver) for name in MODEL_PATHS for solver in SOLVERS if (name, solver) != ("herg", SOLVERS[1])]
ALL += [("MorrisLecar", SOLVERS[0]), *((name, SOLVERS[0]) for name in OWN)]


@pytest.fixture(scope="module")
def stimulus():
    stimulus = np.zeros((STEPS, SWEEPS))
    stimulus[10:] = [4.0, 20.0]
    stimulus[80:, 0] = -5.0
    return stimulus


def by_numpy(model, solver, dt, values, stimulus, initial):
    """Return each state [time, sweep, start] as the model's own calculate gives it."""
    neuron = model({name: row for name, row in zip(model.parameter_names, values, strict=True)}, dt=dt)
    neuron.solver = solver
    if initial is None:
        found = neuron.calculate(stimulus)  # [time, state, sweep, start]
    else:
        runs = []
        for place, V in enumerate(initial):
            rest = model.membrane.steady_state(np.full(values.shape[1], V), neuron._param)
            neuron._init_state = np.array(np.broadcast_arrays(*rest))
            runs.append(neuron.calculate(stimulus[:, place]))
        found = np.stack(runs, axis=2)
    return {state: found[:, place] for place, state in enumerate(model.states)}


@pytest.mark.parametrize(("name", "solver"), ALL)
def test_compiled_traces_are_those_of_numpy(name, solver, load, columns, stimulus):
    model, dt = load(name), DT.get(name, 0.2)
    values = columns(model, STARTS)
    given = dict(zip(model.parameter_names, values, strict=True))
    # Half of the models from the steady state of a given voltage, half from their own.
    initial = np.array([-67.0, -52.0]) if name in MODEL_PATHS and solver == SOLVERS[0] else None
    wanted = by_numpy(model, solver, dt, values, stimulus, initial)
    for precision, tolerance in (("float64", 1e-10), ("float32", 2e-4)):
        traces = Simulator(Dynamics(model, dt, solver, precision)).traces(given, stimulus, initial)
        assert list(traces) == list(model.states)
        assert np.ptp(wanted["V"], axis=0).min() > 0.5
        for state, trace in traces.items():
            assert trace.dtype == precision
            assert trace.shape == (STEPS, SWEEPS, STARTS)
            scale = np.abs(wanted[state]).max()
            np.testing.assert_allclose(trace / scale, wanted[state] / scale, atol=tolerance, err_msg=state)


def test_a_simulator_serves_several_shapes(load, columns, stimulus):
    model = load("leaky")
    simulator = Simulator(Dynamics(model, 0.2, precision="float64"))
    for sweeps, starts, initial in ((1, 1, None), (2, 20, None), (2, 1, np.array([-50.0, -40.0]))):
        values = columns(model, starts)
        given = dict(zip(model.parameter_names, values, strict=True))
        found = simulator.traces(given, stimulus[:50, :sweeps], initial)["V"]
        wanted = by_numpy(model, SOLVERS[0], 0.2, values, stimulus[:50, :sweeps], initial)["V"]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


# Starts of a shard, the first of them, how many its blocks are made for, and how many of these run at once.
SHARDS = ((5, 95, 5, 1), (1, 64, 1, 1), (100, 0, 1000, 1), (100, 0, 100, 2))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "solver", "initial"),
    [
        ("celegans", "implicit_euler", None),
        ("hodgkinhuxley", "exponential_euler", np.array([-70.0, -60.0])),
        ("pospischil", "implicit_euler", None),
        ("Original", "implicit_euler", None),
    ],
    ids=["celegans", "hodgkinhuxley", "pospischil", "Original"],
)
def test_traces_do_not_depend_on_the_shard(name, solver, initial, precision, load, columns, stimulus):
    model = load(name)
    values = columns(model, 100, spread=0.2)
    simulator = Simulator(Dynamics(model, DT.get(name, 0.2), solver, precision))

    def run(starts):
        given = dict(zip(model.parameter_names, values[:, starts], strict=True))
        return np.array(list(simulator.traces(given, stimulus, initial).values()))

    together = run(slice(0, 100))
    assert len(np.unique(together[0, -1, 1])) == 100
    for starts in (slice(0, 64), slice(64, 100), slice(70, 94), slice(95, 100), slice(64, 65)):
        np.testing.assert_array_equal(run(starts), together[..., starts])


@pytest.mark.parametrize(
    ("name", "weights", "initial", "precision"),
    [
        ("pospischil", {"V": 1.0}, np.array([-70.0, -60.0]), "float32"),
        ("ResonantMembrane", {"V": 1.0, "x1": 0.3}, None, "float64"),
    ],
)
def test_losses_and_derivatives_do_not_depend_on_the_shard(
    name, weights, initial, precision, load, columns, stimulus, make_target, make_problem
):
    model = load(name)
    target = make_target(model, DT.get(name, 0.2), stimulus, tuple(weights), initial)
    base = columns(model, 100, spread=0.2)

    def run(number, first=0, starts=None, threads=1):
        starts = starts or number
        problem = make_problem(model, target, weights, precision=precision, starts=starts, threads=threads)
        part = base[:, first : first + number]
        u = problem.points(part)
        found = {"losses": problem.errors(problem.values(u, part))}
        for nudge in (0.0, 4.0):
            found[f"normal equations {nudge}"] = problem.normal_equations(u, part, nudge)
            found[f"gradient {nudge}"] = problem.gradient(u, part, nudge)
        return found

    together = run(100)
    assert len(np.unique(together["losses"][0])) == 100
    for number, first, starts, threads in SHARDS:
        apart = run(number, first, starts, threads)
        for kind, outputs in together.items():
            for output, wanted in zip(apart[kind], outputs, strict=True):
                np.testing.assert_array_equal(output, wanted[..., first : first + number], err_msg=kind)


def test_threads_change_nothing(load, columns, stimulus, make_target, make_problem):
    model = load("leaky")
    target = make_target(model, 0.2, stimulus)
    base = columns(model, 150)
    found = []
    for threads in (1, 2):
        problem = make_problem(model, target, {"V": 1.0}, starts=150, threads=threads)
        found.append(problem.normal_equations(problem.points(base), base))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
