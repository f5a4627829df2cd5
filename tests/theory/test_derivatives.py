"""Losses, gradients and normal equations against central differences of the numpy run, in float64.

The reference shares nothing with the compiled kernels but the model's formulas: no segments, no
padding, no tapes, no transform slopes.
"""

from dataclasses import replace

import numpy as np
import pytest

from odynn.models.equations import SOLVERS
from odynn.models.model import BioNeuron
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator

IMPLICIT, EXPONENTIAL = SOLVERS
STARTS, STEP = 3, 1e-3
REST = np.array([-72.0, -55.0])
# 75 steps are two whole segments of the kernels and a part of one.
LENGTH = 75
# model: dt, stimulus of the two sweeps, weights of the loss (a state of weight 0 is observed only),
# parameters held fixed
MODELS = {
    "leaky": (0.5, [2.0, -1.0], {"V": 1.0}, ()),
    "hodghuxsimple": (2.0, [1.0, 4.0], {"V": 1.0, "b": 0.0}, ("E_K",)),
    "celegans": (4.0, [10.0, 25.0], {"V": 1.0, "Ca": 0.5}, ("E_L", "f__tau")),
    "hodgkinhuxley": (0.04, [8.0, 20.0], {"V": 1.0}, ("E_Na",)),
    "pospischil": (0.04, [4.0, 8.0], {"V": 0.3}, ()),
    "MorrisLecar": (1.0, [50.0, 100.0], {"V": 1.0, "w": 200.0}, ()),
    "ResonantMembrane": (1.0, [1.0, -2.0], {"V": 1.0, "x1": 0.2}, ("E_L",)),
    "Original": (0.2, [3.0, -1.0], {"V": 1.0, "Ca": 50.0}, ()),
    "AssignedLater": (0.2, [1.0, 2.0], {"V": 2.0}, ()),
}
# The initial state is the model's own for one solver and depends on the parameters for the other.
CASES = [
    ("leaky", IMPLICIT, REST),
    ("leaky", EXPONENTIAL, None),
    ("hodghuxsimple", IMPLICIT, None),
    ("hodghuxsimple", EXPONENTIAL, REST),
    ("celegans", IMPLICIT, REST),
    ("celegans", EXPONENTIAL, None),
    ("hodgkinhuxley", IMPLICIT, None),
    ("hodgkinhuxley", EXPONENTIAL, REST),
    ("pospischil", IMPLICIT, REST),
    ("pospischil", EXPONENTIAL, None),
    ("MorrisLecar", EXPONENTIAL, REST),
    ("ResonantMembrane", IMPLICIT, None),
    ("Original", IMPLICIT, REST),
    ("AssignedLater", IMPLICIT, None),
]
IDS = [f"{name}-{solver}-{'default' if rest is None else 'given'} start" for name, solver, rest in CASES]


def run(model, solver, target, values, nudge):
    """Return the states that are observed, less what was observed: state to [time, sweep, column]."""
    P = dict(zip(model.parameter_names, values, strict=True))
    shape = (target.stimulus.shape[1], values.shape[1])
    declared = model.step is BioNeuron.step
    if target.initial is not None and declared:
        state = model.membrane.steady_state(np.broadcast_to(target.initial[:, None], shape), P)
    else:
        state = [np.full(shape, value) for value in np.asarray(model.default_init_state, dtype=float)]
        if target.initial is not None:
            state[model.V_pos] = np.broadcast_to(target.initial[:, None], shape)
    neuron = model(P, dt=target.dt)
    errors = {name: [] for name in target.observed}
    for t, stimulus in enumerate(target.stimulus[:, :, None]):
        seen = target.observed["V"][t][:, None]
        if declared:
            state = model.membrane.advance(
                tuple(state), stimulus, P, target.dt, solver=solver, nudge=nudge, observed=seen
            )
        else:
            state = list(neuron.step(np.array(np.broadcast_arrays(*state)), stimulus))
            V = state[model.V_pos]
            state[model.V_pos] = seen + (V - seen) * np.exp(-nudge * target.dt)
        for name in errors:
            errors[name].append(state[model.states.index(name)] - target.observed[name][t][:, None])
    return {name: np.array(np.broadcast_arrays(*trace)) for name, trace in errors.items()}


def logistic(row, u):
    """Return the value of a parameter at u, by the definition of the transform."""
    lower, upper = np.log(row.bounds) if row.scale == "log" else row.bounds
    value = lower + (upper - lower) / (1 + np.exp(-u))
    return np.exp(value) if row.scale == "log" else value


def difference(values):
    """Return central differences of fourth order from values at +1, -1, +2 and -2 steps, by the last axis."""
    near, far = (values[..., : values.shape[-1] // 2], values[..., values.shape[-1] // 2 :])
    first, second = (np.split(part, 2, axis=-1) for part in (near, far))
    return (8 * (first[0] - first[1]) - (second[0] - second[1])) / (12 * STEP)


def by_differences(model, solver, target, weights, table, u, base, nudge):
    """Return loss, mean squares, gradient, JᵀJ and Jᵀr of each start, in the units of the problem."""
    free = [place for place, row in enumerate(table.values()) if row.free]
    rows = [row for row in table.values() if row.free]
    found = []
    for start in range(u.shape[1]):
        moves = np.concatenate(
            [np.zeros((1, len(u))), *(k * STEP * np.eye(len(u)) for k in (1, -1, 2, -2))]
        ).T
        values = np.repeat(base[:, start : start + 1], moves.shape[1], axis=1)
        points = u[:, start : start + 1] + moves
        values[free] = [logistic(row, line) for row, line in zip(rows, points, strict=True)]
        errors = run(model, solver, target, values, nudge)
        r = np.concatenate(
            [np.sqrt(weights[name]) * one.reshape(-1, moves.shape[1]) for name, one in errors.items()]
        )
        number = target.stimulus.size
        J = difference(r[:, 1:])
        losses = np.sum(r**2, axis=0) / number
        found.append(
            (
                losses[0],
                np.array([np.sum(one[..., 0] ** 2) / number for one in errors.values()]),
                difference(losses[1:]),
                J.T @ J / number,
                J.T @ r[:, 0] / number,
            )
        )
    return [np.stack(part, axis=-1) for part in zip(*found, strict=True)]


def check(model, solver, target, weights, problem, table, base, nudges, losses=True):
    u = problem.points(base)
    base = problem.values(u, base)
    # From where the transform's margin lets the points be.
    assert np.isfinite(u).all()
    for nudge in nudges:
        loss, squares, gradient, H, g = by_differences(model, solver, target, weights, table, u, base, nudge)
        assert (loss > 0).all()
        found_H, found_g, found_loss = problem.normal_equations(u, base, nudge)
        np.testing.assert_allclose(found_loss, loss, rtol=1e-9)
        size = np.sqrt(np.einsum("iin->in", H))
        assert (size > 0).all(), "a parameter without influence tests nothing"
        # Relative to what the two parameters do by themselves.
        np.testing.assert_allclose(found_H / size[:, None] / size, H / size[:, None] / size, atol=1e-5)
        np.testing.assert_allclose(found_H, found_H.transpose(1, 0, 2), rtol=1e-12)
        unit = size * np.sqrt(loss)
        np.testing.assert_allclose(found_g / unit, g / unit, atol=1e-5)

        found_gradient, found_loss = problem.gradient(u, base, nudge)
        np.testing.assert_allclose(found_loss, loss, rtol=1e-9)
        np.testing.assert_allclose(found_gradient / unit, gradient / unit, atol=1e-5)
        # And each other, much closer than differences can tell.
        np.testing.assert_allclose(found_gradient / unit, 2 * found_g / unit, atol=1e-9)
        if losses:
            found_loss, found_squares = problem.errors(base, nudge)
            np.testing.assert_allclose(found_loss, loss, rtol=1e-9)
            np.testing.assert_allclose(found_squares, squares, rtol=1e-9)


@pytest.fixture
def case(load, make_target, make_problem, columns):
    def case(name, solver, rest, length=LENGTH):
        model, (dt, levels, weights, fixed) = load(name), MODELS[name]
        stimulus = np.zeros((length, 2))
        stimulus[length // 10 :] = levels
        stimulus[length // 2 :, 0] = 0.0
        given = rest if rest is not None and model.step is BioNeuron.step else None
        target = make_target(model, dt, stimulus, tuple(weights), given, solver)
        target = replace(target, initial=rest)
        problem = make_problem(model, target, weights, solver=solver, fixed=fixed, starts=STARTS)
        table = {key: row.changed(free=row.free and key not in fixed) for key, row in model.table().items()}
        base = columns(model, STARTS, seed=len(name), spread=0.05)
        return model, solver, target, weights, problem, table, base

    return case


@pytest.mark.parametrize(("name", "solver", "rest"), CASES, ids=IDS)
def test_derivatives_with_and_without_nudge(name, solver, rest, case):
    # The losses alone are compiled for a few models; the other two return them for all.
    compiled = name in {"leaky", "hodghuxsimple", "Original"}
    check(*case(name, solver, rest), nudges=(0.0, 0.7), losses=compiled)


def test_both_kinds_of_scale_and_fixed_parameters_were_among_these(load):
    scales = [{row.scale for row in load(name).table().values()} for name in ("celegans", "pospischil")]
    assert scales == [{"linear", "log"}, {"linear", "log"}]
    assert not load("hodgkinhuxley").table()["q10"].free


# A segment of the forward kernels is 32 steps long, one of the adjoint √T, but at least 32.
@pytest.mark.parametrize("length", [2, 31, 32, 33, 1100])
def test_derivatives_at_the_ends_of_segments(length, case):
    check(*case("leaky", IMPLICIT, REST, length), nudges=(0.0,))


def test_the_loss_of_the_truth_is_nothing(case):
    model, _, target, _, problem, _, base = case("leaky", EXPONENTIAL, None)
    truth = np.array(list(target.truth.values()))[:, None]
    loss, squares = problem.errors(truth)
    assert loss[0] < 1e-24
    assert squares.shape == (1, 1)
    H, g, _ = problem.normal_equations(problem.points(truth), truth)
    assert np.abs(g).max() < 1e-9
    assert np.linalg.eigvalsh(H[..., 0]).min() > 0


def test_float32_losses_of_a_long_recording_are_as_good_as_its_traces(load, make_target, make_problem):
    # 20000 squares added up in float32 alone would be off by some 1e-6 to 1e-7.
    model = load("leaky")
    stimulus = np.random.default_rng(0).uniform(-2.0, 2.0, (20000, 1))
    target = make_target(model, 0.5, stimulus)
    base = np.array([[1.3], [0.12], [-58.0]])
    problem = make_problem(model, target, {"V": 1.0}, precision="float32")
    traces = Simulator(Dynamics(model, 0.5, precision="float32")).traces(
        dict(zip(model.parameter_names, base, strict=True)), stimulus
    )
    errors = traces["V"][..., 0] - target.observed["V"].astype(np.float32)
    wanted = np.mean(errors.astype(float) ** 2)
    u = problem.points(base)
    assert problem.errors(base)[0] == pytest.approx(wanted, rel=1.5e-7)
    assert problem.normal_equations(u, base)[2] == pytest.approx(wanted, rel=1.5e-7)
    assert problem.gradient(u, base)[1] == pytest.approx(wanted, rel=1.5e-7)
