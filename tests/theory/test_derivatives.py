"""Losses, gradients and normal equations against central differences of the numpy run, in float64.

The reference shares nothing with the compiled kernels but the model's formulas: no segments, no
padding, no tapes, no transform slopes.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import find_peaks, lfilter

from odynn.fitting.losses import ElementwiseTerm, make_loss
from odynn.fitting.losses.combination import Loss, WeightedTerm
from odynn.models.equations import SOLVERS
from odynn.models.model import BioNeuron
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator

IMPLICIT, EXPONENTIAL = SOLVERS
STARTS, STEP = 3, 5e-4
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
    "cortical": (0.05, [6.0, 20.0], {"V": 0.3}, ("E_H", "w__scale")),
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
    ("cortical", IMPLICIT, None),
    ("cortical", EXPONENTIAL, REST),
    ("MorrisLecar", EXPONENTIAL, REST),
    ("ResonantMembrane", IMPLICIT, None),
    ("Original", IMPLICIT, REST),
    ("AssignedLater", IMPLICIT, None),
]
IDS = [f"{name}-{solver}-{'default' if rest is None else 'given'} start" for name, solver, rest in CASES]


def run(model, solver, target, values, nudge):
    """Return what is observed less what was, all states, and the initial ones, by state.

    The first two are [time, sweep, column].
    """
    P = dict(zip(model.parameter_names, values, strict=True))
    shape = (target.stimulus.shape[1], values.shape[1])
    declared = model.step is BioNeuron.step
    if target.initial is not None and declared:
        state = model.membrane.steady_state(np.broadcast_to(target.initial[:, None], shape), P)
    else:
        state = [np.full(shape, value) for value in np.asarray(model.default_init_state, dtype=float)]
        if target.initial is not None:
            state[model.V_pos] = np.broadcast_to(target.initial[:, None], shape)
    first = dict(zip(model.states, state, strict=True))
    neuron = model(P, dt=target.dt)
    traces = {name: [] for name in model.states}
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
        for name, value in zip(model.states, state, strict=True):
            traces[name].append(value)
    traces = {
        name: np.array(np.broadcast_arrays(*trace, np.empty(shape)))[:-1] for name, trace in traces.items()
    }
    errors = {name: traces[name] - observed[..., None] for name, observed in target.observed.items()}
    return errors, traces, first


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


class Follower(ElementwiseTerm):
    """A term of a user's own: a state followed slowly, from its initial value on, in two residuals."""

    def __init__(self, state):
        self.state, self.states = state, ("V",)

    def memory(self, simulated):
        return simulated[self.state], simulated["V"] * 0.0 + 1.0

    def residuals(self, simulated, memory, channels):
        slow = 0.9 * memory[0] + 0.1 * simulated[self.state]
        total = memory[1] + 1e-3 * slow * simulated["V"]
        return (slow, total), [slow, 0.01 * (total - channels["V"])]


def plain(weights):
    """Return the entries of a loss that is written in the short form."""
    return [{"kind": "squared_error", "state": state, "weight": w} for state, w in weights.items() if w]


def every_term(target, weights, last):
    """Return the entries of a loss with every kind of term, at levels that the voltage of a target crosses.

    Args:
        target: what is fitted.
        weights: of plain squared errors.
        last: the state that a term of a user's own follows; None for no such term.
    """
    low, middle, high = np.quantile(target.observed["V"], [0.2, 0.6, 0.9])
    time, spread = target.time, max(high - low, 1.0)
    entries = plain(weights)
    entries += [
        {"kind": "squared_error", "weight": 0.7, "noise": spread, "below": middle, "softness": spread / 5},
        {"kind": "squared_error", "weight": 1.3, "windows": [[0, time[9]], [time[20], time[-5]]]},
        {"kind": "derivative", "weight": 0.4, "around_spikes": [time[0], time[3]]},
        {"kind": "derivative", "weight": 2.0, "noise": spread, "except": [[time[11], time[13]]]},
        {
            "kind": "filtered_spikes",
            "threshold": middle,
            "width": spread / 4,
            "time_constant": time[5],
            # A recorded spike that no simulation has would weigh the kinks at the turns of a flat trace.
            "windows": [[0, time[len(time) // 2 - 1]]],
        },
    ]
    loss = make_loss(entries)
    if last is not None:
        loss = Loss((*loss.terms, WeightedTerm("follower", 1.1, Follower(last))))
        entries.append({"kind": "follower", "state": last, "weight": 1.1})
    return loss, entries


def residuals_of(entry, target, errors, traces, first):
    """Return the residuals of a term, [time · sweep, column], whose mean square is what it adds to the loss.

    Args:
        entry: settings of the term.
        target: what is fitted.
        errors: of each observed state, [time, sweep, column].
        traces: of each state.
        first: the initial states.
    """
    state, time = entry.get("state", "V"), target.time
    observed, simulated = target.observed.get(state), traces[state]
    counts = np.ones(target.stimulus.shape, dtype=bool)
    for at in range(len(time)):
        inside = [a - 1e-6 <= time[at] <= b + 1e-6 for a, b in entry.get("windows", [(0, time[-1])])]
        artefact = [a - 1e-6 <= time[at] <= b + 1e-6 for a, b in entry.get("except", [])]
        counts[at] = any(inside) and not any(artefact)
    if "around_spikes" in entry:
        before, after = entry["around_spikes"]
        for sweep, V in enumerate(target.observed["V"].T):
            # What odynn.spikes calls a spike, as another program finds it.
            apart, wide = max(np.ceil(2.0 / target.dt - 1e-6), 1), 2 * max(round(10.0 / target.dt), 1) + 1
            for at in find_peaks(V, height=-10.0, prominence=20.0, distance=apart, wlen=wide)[0]:
                near = (time >= time[at] - before - 1e-6) & (time <= time[at] + after + 1e-6)
                counts[near, sweep] = False
        assert not counts.all(), "no spike to exclude tests nothing"
    if entry["kind"] == "squared_error" and "below" in entry:
        level, soft = entry["below"], entry["softness"]
        clipped = [x - soft * np.log1p(np.exp((x - level) / soft)) for x in (simulated, observed[..., None])]
        r = [(clipped[0] - clipped[1]) / entry["noise"]]
    elif entry["kind"] == "squared_error":
        r = [errors[state]]
    elif entry["kind"] == "derivative":
        counts[0] = False
        slopes = [np.diff(x, axis=0) / target.dt for x in (simulated, observed[..., None])]
        r = [np.concatenate([0 * simulated[:1], (slopes[0] - slopes[1]) / entry.get("noise", 1.0)])]
    elif entry["kind"] == "filtered_spikes":
        a = np.exp(-target.dt / entry["time_constant"])
        befores = (np.broadcast_to(first[state], simulated.shape[1:])[None], observed[:1, :, None])
        above = [
            1 / (1 + np.exp(-(np.concatenate([before, x]) - entry["threshold"]) / entry["width"]))
            for before, x in zip(befores, (simulated, observed[..., None]), strict=True)
        ]
        filtered = [lfilter([1], [1, -a], np.maximum(np.diff(x, axis=0), 0.0), axis=0) for x in above]
        r = [filtered[0] - filtered[1]]
    else:
        start = np.broadcast_to(first[state], simulated.shape[1:])[None]
        slow = lfilter([0.1], [1, -0.9], simulated, axis=0, zi=0.9 * start)[0]
        total = 1 + 1e-3 * np.cumsum(slow * traces["V"], axis=0)
        r = [slow, 0.01 * (total - target.observed["V"][..., None])]
    counts = counts * (1.0 if target.weights is None else target.weights)
    scale = np.sqrt(entry["weight"] if "weight" in entry else 1.0)
    scale = scale * np.sqrt(counts.size / counts.sum()) * np.sqrt(counts[..., None])
    return np.concatenate([(scale * one).reshape(-1, one.shape[-1]) for one in r])


def by_differences(model, solver, target, entries, table, u, base, nudge):
    """Return loss, parts, mean squares, gradient, JᵀJ and Jᵀr of each start, in the units of the problem."""
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
        errors, traces, first = run(model, solver, target, values, nudge)
        parts = [residuals_of(entry, target, errors, traces, first) for entry in entries]
        r, number = np.concatenate(parts), target.stimulus.size
        J = difference(r[:, 1:])
        losses = np.sum(r**2, axis=0) / number
        found.append(
            (
                losses[0],
                np.array([np.sum(part[:, 0] ** 2) / number for part in parts]),
                np.array([np.sum(one[..., 0] ** 2) / number for one in errors.values()]),
                difference(losses[1:]),
                J.T @ J / number,
                J.T @ r[:, 0] / number,
            )
        )
    return [np.stack(part, axis=-1) for part in zip(*found, strict=True)]


def check(model, solver, target, entries, problem, table, base, nudges, losses=True):
    u = problem.points(base)
    base = problem.values(u, base)
    # From where the transform's margin lets the points be.
    assert np.isfinite(u).all()
    for nudge in nudges:
        loss, parts, squares, gradient, H, g = by_differences(
            model, solver, target, entries, table, u, base, nudge
        )
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
            found_parts = list(problem.parts(base, nudge).values())
            np.testing.assert_allclose(found_parts, parts, rtol=1e-8)
            np.testing.assert_allclose(sum(found_parts), found_loss, rtol=1e-14)


@pytest.fixture
def case(load, make_target, make_problem, columns):
    def case(name, solver, rest, length=LENGTH, terms=False, weighted=False):
        model, (dt, levels, weights, fixed) = load(name), MODELS[name]
        stimulus = np.zeros((length, 2))
        stimulus[length // 10 :] = levels
        stimulus[length // 2 :, 0] = 0.0
        given = rest if rest is not None and model.step is BioNeuron.step else None
        target = make_target(model, dt, stimulus, tuple(weights), given, solver)
        target = replace(target, initial=rest)
        if weighted:
            w = np.random.default_rng(3).uniform(0.1, 4.0, target.stimulus.shape)
            target = replace(target, weights=w)
        loss, entries = make_loss(weights), plain(weights)
        if terms:
            loss, entries = every_term(target, weights, model.states[-1])
            # A spike for a term to leave out, no higher than need be: a nudged simulation follows it.
            V = target.observed["V"]
            V[length // 2, 0] = max(0.0, V[:, 0].max() + 25.0)
        problem = make_problem(model, target, loss, solver=solver, fixed=fixed, starts=STARTS)
        table = {key: row.changed(free=row.free and key not in fixed) for key, row in model.table().items()}
        base = columns(model, STARTS, seed=len(name), spread=0.05)
        return model, solver, target, entries, problem, table, base

    return case


@pytest.mark.parametrize(("name", "solver", "rest"), CASES, ids=IDS)
def test_derivatives_with_and_without_nudge(name, solver, rest, case):
    # Every kind of term is in this loss. The losses alone are compiled for a few models; the other two
    # return them for all.
    compiled = name in {"leaky", "hodghuxsimple", "Original"}
    check(*case(name, solver, rest, terms=True), nudges=(0.0, 0.7), losses=compiled)


def test_both_kinds_of_scale_and_fixed_parameters_were_among_these(load):
    scales = [{row.scale for row in load(name).table().values()} for name in ("celegans", "pospischil")]
    assert scales == [{"linear", "log"}, {"linear", "log"}]
    assert not load("hodgkinhuxley").table()["q10"].free


# A user's own step is nudged in another way than a declared one.
@pytest.mark.parametrize("name", ["leaky", "Original"])
def test_derivatives_with_weights_of_samples(name, case):
    check(*case(name, IMPLICIT, REST, terms=True, weighted=True), nudges=(0.0, 0.7))


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
