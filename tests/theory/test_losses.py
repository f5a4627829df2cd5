"""Losses as the kernels compute them: missing samples, terms per sweep, memory; stages with their own."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from odynn.errors import FitError
from odynn.fitting import problem as problems
from odynn.fitting.kernels import AdjointPlan
from odynn.fitting.losses import ElementwiseTerm, SweepTerm, make_loss
from odynn.fitting.losses.combination import Loss, WeightedTerm
from odynn.fitting.staged import fit_stages
from odynn.simulation.blocks import Blocks
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator

ROOT = Path(__file__).parents[2]
DT = 0.5


@pytest.fixture
def recorded(load, make_target):
    """A leaky neuron's target of two sweeps, and its model."""
    stimulus = np.random.default_rng(5).uniform(-3.0, 3.0, (70, 2))
    model = load("leaky")
    return model, make_target(model, DT, stimulus)


def free_runs(model, target, base):
    simulator = Simulator(Dynamics(model, DT, precision="float64"))
    return simulator.traces(dict(zip(model.parameter_names, base, strict=True)), target.stimulus)["V"]


class TestMissingSamples:
    @pytest.fixture
    def gaps(self, recorded):
        model, target = recorded
        V = target.observed["V"].copy()
        V[20:30, 0] = np.nan
        V[[3, 50], 1] = np.nan
        return model, replace(target, observed={"V": V})

    def test_they_do_not_count(self, gaps, columns, make_problem):
        model, target = gaps
        base = columns(model, 4)
        loss = [{"kind": "squared_error"}, {"kind": "derivative"}]
        loss += [{"kind": "filtered_spikes", "threshold": -60.0, "time_constant": 4.0}]
        problem = make_problem(model, target, loss)
        V, seen = free_runs(model, target, base), target.observed["V"][..., None]
        missing = np.isnan(seen)
        a, filtered = np.exp(-DT / 4.0), []
        first = np.full((1, *V.shape[1:]), float(np.atleast_1d(model.default_init_state)[0]))
        for trace, before in ((V, first), (np.nan_to_num(seen), np.nan_to_num(seen[:1]))):
            above = 1 / (1 + np.exp(-(np.concatenate([before, trace]) + 60.0) / 4.0))
            unknown = missing | np.concatenate([missing[:1], missing[:-1]])
            rises = np.where(unknown, 0.0, np.maximum(np.diff(above, axis=0), 0.0))
            steps = [np.zeros_like(rises[0])]
            for rise in rises:
                steps.append(a * steps[-1] + rise)
            filtered.append(np.array(steps[1:]))
        assert filtered[0].max() > 0.1
        wanted = {
            "squared_error_V": np.nanmean((V - seen) ** 2, axis=(0, 1)),
            "derivative_V": np.nanmean((np.diff(V - seen, axis=0) / DT) ** 2, axis=(0, 1)),
            "filtered_spikes": np.array(
                [np.mean(((filtered[0] - filtered[1])[..., n] ** 2)[~missing[..., 0]]) for n in range(4)]
            ),
        }
        parts = problem.parts(base)
        assert list(parts) == list(wanted)
        for name, values in wanted.items():
            np.testing.assert_allclose(parts[name], values, rtol=1e-9, err_msg=name)
        total, squares = problem.errors(base)
        np.testing.assert_allclose(total, sum(wanted.values()), rtol=1e-9)
        np.testing.assert_allclose(squares, [wanted["squared_error_V"]], rtol=1e-9)
        u = problem.points(base)
        _, g, loss = problem.normal_equations(u, base)
        np.testing.assert_allclose(loss, total, rtol=1e-9)
        gradient, _ = problem.gradient(u, base)
        np.testing.assert_allclose(gradient, 2 * g, rtol=1e-7)

    def test_they_pull_at_nothing(self, gaps, columns, make_problem):
        model, target = gaps
        base, nudge = columns(model, 3), 0.8
        observed, V, states = target.observed["V"], [], None
        P = dict(zip(model.parameter_names, base, strict=True))
        states = (np.full((2, 3), float(np.atleast_1d(model.default_init_state)[0])),)
        for stimulus, seen in zip(target.stimulus[..., None], observed[..., None], strict=True):
            gain = np.where(np.isnan(seen), 0.0, nudge)
            states = model.membrane.advance(states, stimulus, P, DT, nudge=gain, observed=np.nan_to_num(seen))
            V.append(states[0])
        wanted = np.nanmean((np.array(V) - observed[..., None]) ** 2, axis=(0, 1))
        problem = make_problem(model, target, {"V": 1.0})
        np.testing.assert_allclose(problem.errors(base, nudge)[0], wanted, rtol=1e-9)


@dataclass(frozen=True)
class Peak(SweepTerm):
    """The squared difference of the highest voltages."""

    observed: np.ndarray | None = None

    def prepare(self, target):
        return replace(self, observed=target.observed["V"].max(axis=0))

    def values(self, traces):
        assert list(traces) == ["V"]
        assert np.isfinite(traces["V"]).all()
        return (traces["V"].max(axis=0) - self.observed[:, None]) ** 2


class TestTermsPerSweep:
    LOSS = Loss((WeightedTerm("peak", 3.0, Peak()),))

    def test_cma_es_fits_them_beside_starts_that_are_lost(self, recorded, columns, make_problem):
        model, target = recorded
        problem = make_problem(model, target, self.LOSS)
        base = columns(model, 5, spread=0.4)
        base[list(model.table()).index("g_L"), 2] = np.nan
        u = problem.points(base)
        start = problem.losses(u, base)
        stages = [{"method": "cma_es", "iterations": 40}]
        found = fit_stages(problem, u, base, start, stages)
        sound = [0, 1, 3, 4]
        assert (found.loss[sound] < 0.01 * start[sound]).all()
        assert not np.isfinite(found.loss[2])
        alone = fit_stages(problem, u[:, sound], base[:, sound], start[sound], stages, ids=sound)
        np.testing.assert_array_equal(found.u[:, sound], alone.u)

    def test_they_add_to_the_others(self, recorded, columns, make_problem):
        model, target = recorded
        base = columns(model, 5)
        both = Loss((*make_loss({"V": 0.5}).terms, *self.LOSS.terms))
        problem = make_problem(model, target, both)
        V = free_runs(model, target, base)
        peak = 3.0 * np.mean((V.max(axis=0) - target.observed["V"].max(axis=0)[:, None]) ** 2, axis=0)
        error = np.mean((V - target.observed["V"][..., None]) ** 2, axis=(0, 1))
        parts = problem.parts(base)
        assert list(parts) == ["squared_error_V", "peak"]
        np.testing.assert_allclose(parts["peak"], peak, rtol=1e-9)
        np.testing.assert_allclose(parts["squared_error_V"], 0.5 * error, rtol=1e-9)
        total, squares = problem.errors(base)
        np.testing.assert_allclose(total, 0.5 * error + peak, rtol=1e-9)
        np.testing.assert_allclose(squares[0], error, rtol=1e-9)
        u = problem.points(base)
        np.testing.assert_array_equal(problem.losses(u, base), problem.errors(problem.values(u, base))[0])
        assert (problem.losses(u, base, nudge=5.0) < 0.2 * problem.losses(u, base)).all()

    def test_alone_they_have_no_derivatives(self, recorded, columns, make_problem):
        model, target = recorded
        problem, base = make_problem(model, target, self.LOSS), columns(model, 2)
        assert (problem.errors(base)[0] > 0).all()
        u = problem.points(base)
        np.testing.assert_array_equal(problem.losses(u, base), problem.errors(problem.values(u, base))[0])
        for derivatives in (problem.normal_equations, problem.gradient):
            with pytest.raises(FitError, match="Received: peak, a number for a whole sweep"):
                derivatives(u, base)

    def test_blocks_and_threads_change_nothing(self, recorded, columns, make_problem, monkeypatch):
        model, target = recorded
        base = columns(model, 100)
        whole = make_problem(model, target, self.LOSS, starts=100).errors(base)[0]
        monkeypatch.setattr(problems, "memory_budget", lambda: 1)  # the narrowest blocks that there are
        for threads in (1, 2):
            problem = make_problem(model, target, self.LOSS, starts=100, threads=threads)
            np.testing.assert_array_equal(problem.errors(base)[0], whole)
            np.testing.assert_array_equal(problem.errors(base[:, 70:75])[0], whole[70:75])

    def test_a_trace_that_is_not_finite_harms_no_neighbour(self, recorded, columns, make_problem):
        model, target = recorded
        base = columns(model, 4)
        problem = make_problem(model, target, self.LOSS)
        whole = problem.errors(base)[0]
        base[model.parameter_names.index("C_m"), 2] = np.nan
        broken = problem.errors(base)[0]
        assert np.isnan(broken[2])
        np.testing.assert_array_equal(np.delete(broken, 2), np.delete(whole, 2))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (
                lambda self, traces: traces["V"].max(),
                r"an array \[sweep, start\] = \[2, 1\]. Received: shape",
            ),
            (lambda self, traces: traces["Ca"], r"It raised KeyError: 'Ca'"),
        ],
    )
    def test_what_a_users_own_gets_wrong(self, values, message, recorded, columns, make_problem):
        model, target = recorded
        own = type("Own", (SweepTerm,), {"values": values})()
        problem = make_problem(model, target, Loss((WeightedTerm("own", 1.0, own),)))
        with pytest.raises(FitError, match=f"Own.values must return .*{message}"):
            problem.errors(columns(model, 1))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"residuals": lambda self, s, m, c: ((), [np.exp(s["V"])])},
            r"Own.residuals must do what .*kinetics",
        ),
        ({"residuals": lambda self, s, m, c: ((), [s["W"]])}, r"Own.residuals .*raised KeyError: 'W'"),
        ({"residuals": lambda self, s, m, c: ((), [])}, r"at least one residual. Received: 0 and 0"),
        ({"residuals": lambda self, s, m, c: ((s["V"],), [s["V"]])}, r"`memory` \(0\).* Received: 1 and 1"),
        ({"residuals": lambda self, s, m, c: ((), ["V"])}, r"what Own returns must be tensors of the shape"),
        ({"channels": lambda self, target: {"V": np.zeros(3)}}, r"Own.channels .*\[70, 2\]. Received: shape"),
        ({"channels": lambda self, target: {"V": np.inf * target.stimulus}}, r"not finite in 'V'"),
        ({"channels": lambda self, target: target.nothing}, r"Own.channels .* It raised AttributeError"),
    ],
)
def test_what_a_term_of_a_users_own_gets_wrong(members, message, recorded, columns, make_problem):
    model, target = recorded
    members = {"residuals": lambda self, s, m, c: ((), [s["V"]])} | members
    loss = Loss((WeightedTerm("own", 1.0, type("Own", (ElementwiseTerm,), members)()),))
    with pytest.raises(FitError, match=f"loss: .*{message}"):
        make_problem(model, target, loss).errors(columns(model, 1))


class TestStagesWithTheirOwnLoss:
    LM = {"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 12, "tolerance": 1e-8}

    def test_the_stage_minimises_it_and_the_experiments_ranks(self, recorded, columns, make_problem):
        model, target = recorded
        # The level of the voltage is another in the second half: the two losses want other parameters.
        V = target.observed["V"] + np.where(target.time > 17, 6.0, 0.0)[:, None]
        target = replace(target, observed={"V": V})
        own = [{"kind": "squared_error", "windows": [[0.0, 17.0]], "weight": 2.0}]
        problem = make_problem(model, target, {"V": 1.0})
        base = columns(model, 4, spread=0.2)
        u = problem.points(base)
        start_loss = problem.losses(u, base)
        result = fit_stages(problem, u, base, start_loss, [{**self.LM, "loss": own}])
        minimised = problem.minimising(own)
        assert problem.minimising([dict(own[0])]) is minimised
        assert problem.minimising([{"kind": "squared_error", "weight": 1.0}]) is problem
        # What the history has is the loss of the stage, which the truth makes zero; the loss is the other.
        assert (result.history[-1][np.isfinite(result.history[-1])] < 1e-6).all()
        np.testing.assert_allclose(result.loss, problem.losses(result.u, base), rtol=1e-12)
        assert (result.loss <= start_loss).all()
        assert (minimised.losses(result.u, base) < 1e-6).any()
        plain = fit_stages(
            problem, u, base, start_loss, [{**self.LM, "loss": own}, {**self.LM, "loss": None}]
        )
        assert (plain.loss < result.loss - 0.1).all()


class TestMemory:
    @pytest.mark.parametrize("steps", [2, 31, 32, 1200, 20_000, 100_000, 1_000_000])
    def test_the_adjoint_keeps_about_two_roots_of_the_number_of_steps(self, steps):
        plan = AdjointPlan(steps)
        assert plan.length * plan.segments >= steps
        assert plan.length * (plan.segments - 1) < steps
        assert plan.kept <= 2 * np.sqrt(steps) + 33

    def test_blocks_are_as_narrow_as_the_budget_asks(self):
        wide = Blocks(128)
        assert wide.within(1000, 128_000) == wide
        assert wide.within(1000, 127_999).width == 112
        assert wide.within(1000, 50_000).width == 48
        assert wide.within(1000, 1).width == 48
        assert Blocks(16).within(1000, 1).width == 16
        assert Blocks(128, threads=2).within(1000, 128_000).width == 64

    def test_what_it_plans_is_within_the_budget(self, load, make_target, make_problem):
        model = load("hodgkinhuxley")
        target = make_target(model, 0.05, np.zeros((400, 10)))
        loss = [{"kind": "squared_error"}, {"kind": "filtered_spikes"}]
        kernels = make_problem(model, target, loss, precision="float32", starts=64)._kernels
        # Four states, a filter and the sample before, at the starts of 13 segments and at 32 steps of
        # one, 10 sweeps, 4 bytes.
        assert kernels.gradient_bytes() == 6 * (13 + 32) * 10 * 4
        assert kernels.traces_bytes(("V", "m")) == 2 * 400 * 10 * 4

    def test_narrow_blocks_change_no_gradient(self, recorded, columns, make_problem, monkeypatch):
        model, target = recorded
        base = columns(model, 60)
        whole = make_problem(model, target, {"V": 1.0}, starts=60)
        u = whole.points(base)
        wanted = whole.gradient(u, base)
        monkeypatch.setattr(problems, "memory_budget", lambda: 1)
        narrow = make_problem(model, target, {"V": 1.0}, starts=60)
        for one, two in zip(narrow.gradient(u, base), wanted, strict=True):
            np.testing.assert_array_equal(one, two)

    def test_the_gradient_of_a_long_recording_needs_little(self):
        # All states of 100 000 steps are 205 MB; those that are kept, and all else that is as long, far less.
        code = """
import json, resource, sys
import numpy as np
from odynn.data import Target
from odynn.fitting.losses import make_loss
from odynn.fitting.problem import Problem
from odynn.models import load_model
from odynn.simulation.dynamics import Dynamics

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

model, found = load_model("hodgkinhuxley"), []
for steps in (1000, 100_000):
    zero = np.zeros((steps, 4))
    time = np.arange(1, steps + 1) * 0.01
    target = Target(time, zero, {"V": zero - 65}, {"V": "mV"}, np.arange(4), np.ones(4, bool))
    problem = Problem(Dynamics(model, 0.01), target, make_loss({"V": 1.0}), model.table(), 32)
    base = np.repeat(np.array(list(model.default_params.values()))[:, None], 32, axis=1)
    gradient, loss = problem.gradient(problem.points(base), base)
    assert np.isfinite(gradient).all() and (loss > 0).all()
    found.append(peak())
print(json.dumps(found))
"""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        short, long = json.loads(done.stdout.splitlines()[-1])
        assert long - short < 100
