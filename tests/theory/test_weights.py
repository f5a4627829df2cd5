"""Weights of sweeps and samples: what they do to a loss, by its definition, to a fit and to errors."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from odynn.analysis.residuals import residuals_of
from odynn.data import Starts
from odynn.errors import FitError
from odynn.fitting.losses import SweepTerm, make_loss
from odynn.fitting.losses.combination import Loss, WeightedTerm
from odynn.fitting.losses.weighting import bridged, counted, weighted_channels
from odynn.fitting.regression import regressed_starts
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator

DT = 0.5
LOSS = [
    {"kind": "squared_error"},
    {"kind": "squared_error", "weight": 2.0, "windows": [[5, 30]], "noise": 0.5},
    {"kind": "derivative", "except": [[10, 12]]},
    {"kind": "filtered_spikes", "threshold": -60.0, "time_constant": 4.0},
]


@pytest.fixture
def recorded(load, make_target):
    """A leaky neuron's target of two sweeps, and its model."""
    stimulus = np.random.default_rng(5).uniform(-3.0, 3.0, (70, 2))
    model = load("leaky")
    return model, make_target(model, DT, stimulus)


def everything(problem, base, nudge=0.0):
    """Return losses, terms, normal equations and gradient."""
    u = problem.points(base)
    found = [*problem.normal_equations(u, base, nudge), *problem.gradient(u, base, nudge)]
    return [problem.evaluate(base, nudge)[0], *found]


def weighed(target, w):
    return replace(target, weights=np.broadcast_to(w, target.stimulus.shape).astype(float))


def test_equal_weights_change_nothing(recorded, columns, make_problem):
    model, target = recorded
    base = columns(model, 3)
    plain = everything(make_problem(model, target, LOSS), base)
    doubled = everything(make_problem(model, weighed(target, 2.0), LOSS), base)
    for one, other in zip(plain, doubled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_without_weights_the_channels_are_those_of_the_terms(recorded):
    _, target = recorded
    for one in make_loss(LOSS).terms:
        own, found = one.term.channels(target), weighted_channels(one.term, target)
        assert list(own) == list(found)
        for name in own:
            assert (own[name] == found[name]).all()


def test_a_term_is_the_weighted_mean(recorded, columns, make_problem):
    model, target = recorded
    base = columns(model, 3)
    w = np.random.default_rng(1).uniform(0.0, 3.0, target.stimulus.shape)
    w[20:25] = 0.0
    problem = make_problem(model, weighed(target, w), LOSS[:2])
    V = Simulator(Dynamics(model, DT, precision="float64")).traces(
        dict(zip(model.parameter_names, base, strict=True)), target.stimulus
    )["V"]
    squares = (V - target.observed["V"][..., None]) ** 2
    inside = ((target.time >= 5) & (target.time <= 30))[:, None] * w
    parts, errors = problem.evaluate(base)
    for found, weights, factor in ((parts[0], w, 1.0), (parts[1], inside, 2.0 / 0.5**2)):
        wanted = factor * np.einsum("ts,tsn->n", weights, squares) / weights.sum()
        np.testing.assert_allclose(found, wanted, rtol=1e-10)
    # Errors of states, which results report, know no weights.
    np.testing.assert_allclose(errors[0], squares.mean(axis=(0, 1)), rtol=1e-10)


@pytest.mark.parametrize("nudge", [0.0, 0.8])
def test_weight_zero_is_as_good_as_missing(nudge, recorded, columns, make_problem):
    model, target = recorded
    base = columns(model, 3)
    w = np.ones(target.stimulus.shape)
    w[20:30, 0] = w[[3, 50], 1] = 0.0
    V = np.where(w == 0, np.nan, target.observed["V"])
    ignored = make_problem(model, weighed(target, w), LOSS)
    missing = make_problem(model, replace(target, observed={"V": V}), LOSS)
    for one, other in zip(everything(ignored, base, nudge), everything(missing, base, nudge), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(ignored.errors(base, nudge)[1], missing.errors(base, nudge)[1], rtol=1e-3)


def test_nothing_is_left(recorded, make_problem):
    model, target = recorded
    w = np.ones(target.stimulus.shape)
    w[:40] = 0.0
    with pytest.raises(FitError, match=r"at least one sample must count"):
        make_problem(model, weighed(target, w), [{"kind": "squared_error", "windows": [[1, 20]]}])
    with pytest.raises(FitError, match=r"at least one weight of the target must be above 0"):
        make_problem(model, weighed(target, 0.0), [{"kind": "spike_count"}])


@dataclass(frozen=True)
class Highest(SweepTerm):
    """The difference of the highest voltages, at all times that a term sees."""

    observed: np.ndarray | None = None

    def prepare(self, target):
        assert np.isfinite(target.observed["V"]).all()
        return replace(self, observed=target.observed["V"].max(axis=0))

    def values(self, traces):
        return (traces["V"].max(axis=0) - self.observed[:, None]) ** 2


def test_terms_per_sweep_take_the_mean_weight_of_a_sweep_and_see_no_ignored_time(
    recorded, columns, make_problem
):
    model, target = recorded
    base, loss = columns(model, 3), Loss((WeightedTerm("highest", 3.0, Highest()),))
    V = target.observed["V"].copy()
    V[30:33, 1] = 500.0  # an artefact
    w = np.ones(V.shape)
    w[:, 0], w[30:33, 1] = 3.0, 0.0
    problem = make_problem(model, weighed(replace(target, observed={"V": V}), w), loss)
    traces = Simulator(Dynamics(model, DT, precision="float64")).traces(
        dict(zip(model.parameter_names, base, strict=True)), target.stimulus
    )["V"]
    keep = np.r_[:30, 33:70]
    values = [
        (traces[:, 0].max(axis=0) - V[:, 0].max()) ** 2,
        (traces[keep, 1].max(axis=0) - V[keep, 1].max()) ** 2,
    ]
    weights = np.array([3.0, 67 / 70])
    np.testing.assert_allclose(
        problem.losses(problem.points(base), base),
        3.0 * np.average(values, axis=0, weights=weights),
        rtol=1e-9,
    )


def test_bridges():
    trace = np.arange(12.0).reshape(6, 2) ** 2
    out = np.zeros((6, 2), dtype=bool)
    out[2:4, 0] = out[:2, 1] = out[5, 1] = True
    found = bridged(trace.astype(np.float32), out)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], [0, 4, 24, 44, 64, 100], rtol=1e-6)
    assert found[:, 1].tolist() == [25, 25, 25, 49, 81, 81]
    assert bridged(trace, None) is trace
    assert (bridged(np.repeat(trace[..., None], 3, axis=2), out)[:, 0, 2] == found[:, 0]).all()
    # A sweep without any is left as it is.
    out[:, 1] = True
    assert (bridged(trace, out)[:, 1] == trace[:, 1]).all()


def test_residuals_of_the_uncertainty_have_the_weights(recorded, columns, make_problem):
    model, target = recorded
    base = columns(model, 2)
    w = np.random.default_rng(1).uniform(0.5, 3.0, target.stimulus.shape)
    w[20:25] = 0.0
    target, loss = weighed(target, w), make_loss({"V": 1.0})
    traces = Simulator(Dynamics(model, DT, precision="float64")).traces(
        dict(zip(model.parameter_names, base, strict=True)), target.stimulus
    )
    found = residuals_of(loss, traces, target)
    squares = make_problem(model, target, loss).errors(base)[0]
    np.testing.assert_allclose(np.mean(found.series[0] ** 2, axis=(0, 1)), squares, rtol=1e-9)
    assert found.number == 130
    # The noise is told for a sample of the mean weight.
    assert found.scale == pytest.approx(140 / 130)


class TestRegression:
    def starts(self, model, target):
        table = model.table()
        values = {name: np.array([target.truth[name] / (3.0 if name == "g_L" else 1)]) for name in table}
        return Starts(np.array([0]), values, table)

    @pytest.fixture
    def spoilt(self, load, make_target):
        """A target with an artefact of 20 ms in one of its sweeps, and where it is."""
        model = load("leaky")
        stimulus = np.repeat(np.random.default_rng(5).uniform(-3.0, 3.0, (40, 2)), 20, axis=0)
        target = make_target(model, DT, stimulus)
        V = target.observed["V"].copy()
        gone = np.zeros(V.shape, dtype=bool)
        gone[200:240, 1] = True
        V[gone] += np.linspace(0.0, 300.0, 40)
        return model, replace(target, observed={"V": V}), gone

    def found(self, model, target):
        starts = self.starts(model, target)
        return regressed_starts(model, starts, target, "implicit_euler").values["g_L"][0]

    def test_what_is_missing_or_ignored_gives_no_equation(self, spoilt):
        model, target, gone = spoilt
        truth = target.truth["g_L"]
        assert self.found(model, target) != pytest.approx(truth, rel=0.1)
        missing = replace(target, observed={"V": np.where(gone, np.nan, target.observed["V"])})
        assert self.found(model, missing) == pytest.approx(truth, rel=0.02)
        ignored = weighed(target, np.where(gone, 0.0, 1.0))
        assert self.found(model, ignored) == self.found(model, missing)

    def test_equations_have_weights(self, spoilt):
        model, target, gone = spoilt
        truth = target.truth["g_L"]
        less = self.found(model, weighed(target, np.where(gone, 1e-9, 1.0)))
        assert less == pytest.approx(truth, rel=0.02)
        assert self.found(model, weighed(target, 7.0)) == pytest.approx(self.found(model, target), rel=1e-9)

    def test_nothing_known_leaves_what_was_drawn(self, spoilt):
        model, target, _ = spoilt
        V = target.observed["V"].copy()
        V[::3] = np.nan
        assert self.found(model, replace(target, observed={"V": V})) == target.truth["g_L"] / 3.0


def test_counted_is_the_target_itself_where_all_count(recorded):
    _, target = recorded
    assert counted(target) is target
    assert counted(weighed(target, 2.0)).observed["V"] is target.observed["V"]
