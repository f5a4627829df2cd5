"""The optimisers on problems whose answers are known, the space they move in, and the order of stages."""

from pathlib import Path

import numpy as np
import pytest

from odynn.data import Cause, Parameter, Starts, Status
from odynn.errors import FitError, ModelError
from odynn.fitting import adam, cma_es, levenberg_marquardt, staged
from odynn.fitting.evaluation import experiment_problem, fitted_starts, simulated_starts
from odynn.fitting.losses import make_loss
from odynn.fitting.result import StageResult
from odynn.fitting.schedules import default_loss, default_stages
from odynn.fitting.starts import DESIGNS, draw_starts
from odynn.fitting.transforms import Transform
from odynn.models import experiment_parameters, load_model
from odynn.models.model import BioNeuron
from odynn.simulation.synthetic import synthetic_target

ROWS = {
    "linear": Parameter("linear", 1.0, "mV", (-3.0, 7.0)),
    "fixed": Parameter("fixed", 2.0, "1", (0.0, 5.0), free=False),
    "log": Parameter("log", 0.1, "ms", (1e-4, 1e3), (1e-2, 1.0), "log"),
    "negative": Parameter("negative", -1.0, "mV", (-200.0, -0.05)),
}


class TestTransform:
    def test_fixed_parameters_are_left_out(self):
        transform = Transform(ROWS)
        assert list(transform.parameters) == ["linear", "log", "negative"]
        assert len(transform) == 3

    def test_the_middle_of_the_space_is_the_middle_of_the_bounds(self):
        values = Transform(ROWS).forward(np.zeros((3, 1)))[:, 0]
        np.testing.assert_allclose(values, [2.0, np.sqrt(1e-4 * 1e3), -100.025])

    def test_round_trip_of_points(self):
        transform = Transform(ROWS)
        u = np.random.default_rng(0).uniform(-6.0, 6.0, (3, 50))
        np.testing.assert_allclose(transform.inverse(transform.forward(u)), u, atol=1e-9)

    def test_round_trip_of_values(self):
        transform = Transform(ROWS)
        share = np.linspace(0.002, 0.998, 40)
        values = np.array([-3 + 10 * share, 1e-4 * 1e7**share, -200 + 199.95 * share])
        np.testing.assert_allclose(transform.forward(transform.inverse(values)), values, rtol=1e-9)

    def test_no_point_is_out_of_bounds(self):
        transform = Transform(ROWS)
        values = transform.forward(np.array([[-800.0, -40.0, 40.0, 800.0]] * 3))
        for row, line in zip(transform.parameters.values(), values, strict=True):
            assert (line >= row.bounds[0] * (1 - 1e-12 * np.sign(row.bounds[0]))).all()
            assert (line <= row.bounds[1] * (1 + 1e-12 * np.sign(row.bounds[1]))).all()
            assert (np.diff(line) >= 0).all()

    def test_values_on_a_bound_become_points_that_can_leave_it(self):
        transform = Transform(ROWS)
        u = transform.inverse(np.array([[-3.0, 7.0], [1e-4, 1e3], [-200.0, -0.05]]))
        assert np.isfinite(u).all()
        assert (transform.slope(u) > 0).all()
        np.testing.assert_allclose(transform.forward(u)[0], [-3.0, 7.0], atol=0.02)

    def test_a_small_value_in_a_wide_linear_range_keeps_its_meaning(self):
        transform = Transform({"g": Parameter("g", 0.005, "mS/cm²", (1e-5, 10.0))})
        values = np.array([[0.005, 2e-5, 9.9999, 3e-4]])
        np.testing.assert_allclose(transform.forward(transform.inverse(values)), values, rtol=1e-9)
        # At the bound itself there is no slope: that start is moved to where a fit can take it from.
        moved = transform.forward(transform.inverse(np.array([[1e-5, 10.0]])))
        np.testing.assert_allclose(moved, [[0.01, 9.99]], rtol=2e-3)

    def test_the_slope_is_the_derivative(self):
        transform = Transform(ROWS)
        u = np.linspace(-5.0, 5.0, 11) * np.ones((3, 1))
        step = 1e-6
        differences = (transform.forward(u + step) - transform.forward(u - step)) / (2 * step)
        np.testing.assert_allclose(transform.slope(u), differences, rtol=1e-7)

    def test_at_bound(self):
        transform = Transform(ROWS)
        inside, near = 6.8, 7.1  # the logistic function of them is 0.9989 and 0.9992
        u = np.array([[0, inside, near, -near, 0, 0], [0, 0, 0, 0, near, 0], [0, 0, 0, 0, 0, -inside]], float)
        assert transform.at_bound(u).tolist() == [False, False, True, True, True, False]

    def test_nothing_free(self):
        transform = Transform({"fixed": ROWS["fixed"]})
        assert len(transform) == 0
        assert transform.forward(np.zeros((0, 4))).shape == (0, 4)


class Valley:
    """Rosenbrock's valley, residuals (10 (y - x²), 1 - x), lowest at (1, 1); not a number below x = -3.

    ``nudge`` shifts the lowest point to x = 1 + nudge, so that stages differ. ``blind`` starts (their
    base value is 1) have a loss but no derivatives.
    """

    transform = Transform({"x": Parameter("x", 0.0, "1", (-4, 4)), "y": Parameter("y", 0.0, "1", (-4, 4))})

    def __init__(self):
        self.calls = []

    def residuals(self, u, nudge):
        x, y = u
        broken = np.where(x < -3, np.nan, 0.0)
        return np.array([10 * (y - x**2), 1 + nudge - x]) + broken

    def losses(self, u, base, nudge=0.0):
        self.calls.append(("losses", u.shape[1]))
        return np.sum(self.residuals(u, nudge) ** 2, axis=0)

    def normal_equations(self, u, base, nudge=0.0):
        self.calls.append(("normal_equations", u.shape[1]))
        x, y = u
        one = np.ones_like(x)
        J = np.array([[-20 * x, 10 * one], [-one, 0 * one]])
        J = np.where(base[0] == 1, np.nan, J)
        r = self.residuals(u, nudge)
        return np.einsum("rin,rjn->ijn", J, J), np.einsum("rin,rn->in", J, r), np.sum(r**2, axis=0)

    def gradient(self, u, base, nudge=0.0):
        self.calls.append(("gradient", u.shape[1]))
        H, g, loss = self.normal_equations(u, base, nudge)
        return 2 * g, loss

    def values(self, u, base):
        return u


STARTS = np.array([[-1.2, 0.0, 2.0, -2.5, 1.0, 1.5], [1.0, 0.0, -1.0, 3.0, 1.0, -3.0]])
NOWHERE = np.array([[-3.5], [0.0]])


def at_zero(u):
    return np.zeros((1, u.shape[1]))


class TestLevenbergMarquardt:
    def minimise(self, u, base=None, **options):
        base = at_zero(u) if base is None else base
        return levenberg_marquardt.minimise(
            Valley(), u, base, **{"iterations": 100, "tolerance": 1e-9, **options}
        )

    def test_every_start_finds_the_end_of_the_valley(self):
        result = self.minimise(STARTS)
        np.testing.assert_allclose(result.u, 1.0, atol=1e-4)
        assert (result.loss < 1e-8).all()
        assert (result.status == Status.CONVERGED).all()
        assert (result.iterations < 60).all()

    def test_nothing_is_worse_than_the_start(self):
        start = np.sum(Valley().residuals(STARTS, 0.0) ** 2, axis=0)
        for iterations in (1, 2, 5):
            result = self.minimise(STARTS, iterations=iterations)
            assert (result.loss <= start).all()
            np.testing.assert_allclose(result.loss, np.sum(Valley().residuals(result.u, 0.0) ** 2, axis=0))
            active = result.status == Status.ITERATION_LIMIT
            assert active.sum() >= 4
            assert (result.iterations[active] == iterations).all()

    def test_a_start_that_cannot_be_evaluated(self):
        result = self.minimise(np.concatenate([STARTS, NOWHERE], axis=1))
        assert result.status[-1] == Status.DIVERGED
        assert result.cause[-1] == Cause.START_NOT_FINITE
        assert result.iterations[-1] == 0
        alone = self.minimise(STARTS)
        np.testing.assert_array_equal(result.u[:, :-1], alone.u)
        np.testing.assert_array_equal(result.history[:, :-1], alone.history)

    def test_all_starts_nowhere(self):
        result = self.minimise(np.repeat(NOWHERE, 3, axis=1))
        assert (result.status == Status.DIVERGED).all()

    def test_a_start_without_derivatives(self):
        base = np.zeros((1, 6))
        base[0, 2] = 1
        result = self.minimise(STARTS, base)
        assert result.status[2] == Status.STOPPED_EARLY
        assert result.cause[2] == Cause.SENSITIVITY_NOT_FINITE
        np.testing.assert_array_equal(result.u[:, 2], STARTS[:, 2])
        np.testing.assert_allclose(result.u[:, [0, 1, 3, 4, 5]], 1.0, atol=1e-4)

    def test_a_better_point_counts_even_where_the_search_cannot_go_on(self):
        # Below x = 0.5 all is well; beyond, the loss is known and the derivatives are not.
        class Edge(Valley):
            def normal_equations(self, u, base, nudge=0.0):
                H, g, loss = super().normal_equations(u, base, nudge)
                return np.where(u[0] > 0.5, np.nan, H), g, loss

        result = levenberg_marquardt.minimise(Edge(), STARTS, at_zero(STARTS), iterations=40, tolerance=1e-9)
        start = Valley().losses(STARTS, None)
        np.testing.assert_allclose(result.loss, Valley().losses(result.u, None))
        beyond = result.u[0] > 0.5
        assert beyond[[0, 1]].any()
        assert (result.loss <= start).all()
        for history, done in zip(result.history.T, result.iterations, strict=True):
            assert (np.diff(history[:done]) <= 0).all()
        # Those that began beyond never had derivatives.
        assert (result.status[STARTS[0] > 0.5] == Status.STOPPED_EARLY).all()

    def test_a_point_without_derivatives_is_not_tried_again(self):
        seen = []

        class Edge(Valley):
            def normal_equations(self, u, base, nudge=0.0):
                seen.append(u[:, 0].tolist())
                H, g, loss = super().normal_equations(u, base, nudge)
                return np.where(u[0] > 0.5, np.nan, H), g, loss

        start = STARTS[:, :1]
        levenberg_marquardt.minimise(Edge(), start, at_zero(start), iterations=40, tolerance=1e-9)
        assert any(x > 0.5 for x, _ in seen)
        assert len({tuple(point) for point in seen}) == len(seen)

    def test_a_start_at_the_lowest_point_stops(self):
        result = self.minimise(np.ones((2, 1)))
        assert result.status[0] == Status.CONVERGED
        assert result.cause[0] == Cause.NO_DESCENT
        np.testing.assert_array_equal(result.u, np.ones((2, 1)))

    def test_converged_on_a_bound_is_said(self):
        result = levenberg_marquardt.minimise(
            Valley(), np.full((2, 1), 6.0), at_zero(STARTS[:, :1]), nudge=8.0, iterations=200, tolerance=1e-9
        )
        np.testing.assert_allclose(result.u[0], 9.0, atol=1e-3)  # the logistic function of it is 0.9999
        assert result.status[0] == Status.AT_BOUND

    def test_stopped_starts_cost_nothing(self):
        problem = Valley()
        u = np.concatenate([np.ones((2, 30)), STARTS[:, :1]], axis=1)
        levenberg_marquardt.minimise(problem, u, at_zero(u), iterations=60, tolerance=1e-9)
        numbers = [number for kind, number in problem.calls if kind == "normal_equations"]
        assert numbers[0] == 31
        assert numbers[-1] == 1
        assert len(numbers) > 5

    def test_a_wide_shard_and_a_narrow_one_agree(self):
        together = self.minimise(STARTS)
        for place in range(STARTS.shape[1]):
            alone = self.minimise(STARTS[:, place : place + 1])
            np.testing.assert_array_equal(alone.u[:, 0], together.u[:, place])
            np.testing.assert_array_equal(alone.history[:, 0], together.history[:, place])


class TestAdam:
    OPTIONS = {"iterations": 400, "rate": 0.2, "decay": 0.98, "decay_every": 5, "clip_norm": 5.0}

    def minimise(self, u, base=None, **options):
        base = at_zero(u) if base is None else base
        return adam.minimise(Valley(), u, base, **{**self.OPTIONS, **options})

    def test_the_first_step_is_the_rate_against_the_sign_of_the_gradient(self):
        result = self.minimise(STARTS[:, :3], iterations=1)
        gradient, _ = Valley().gradient(STARTS[:, :3], at_zero(STARTS[:, :3]))
        stepped = STARTS[:, :3] - 0.2 * np.sign(gradient)
        better = np.sum(Valley().residuals(stepped, 0) ** 2, axis=0) < np.sum(
            Valley().residuals(STARTS[:, :3], 0) ** 2, axis=0
        )
        assert better.any()
        wanted = np.where(better, stepped, STARTS[:, :3])
        moving = gradient != 0
        np.testing.assert_allclose(result.u[moving], wanted[moving], rtol=1e-6)

    def test_it_follows_the_valley(self):
        start = np.sum(Valley().residuals(STARTS, 0.0) ** 2, axis=0)
        result = self.minimise(STARTS)
        assert (result.loss <= start).all()
        assert (result.loss < 0.2).sum() >= 5
        assert (result.status == Status.ITERATION_LIMIT).all()
        assert (result.iterations == 400).all()

    def test_the_schedule_of_the_original_library_is_the_default(self):
        import inspect

        found = {name: one.default for name, one in inspect.signature(adam.minimise).parameters.items()}
        wanted = {"iterations": 700, "rate": 0.1, "decay": 0.92, "decay_every": 9, "clip_norm": 5.0}
        assert wanted.items() <= found.items()

    def test_the_rate_falls_in_steps(self):
        # Without memory of a bend: along a straight slope each step has the size of the rate.
        class Slope(Valley):
            def losses(self, u, base, nudge=0.0):
                return 1000.0 + np.sum(u, axis=0)

            def gradient(self, u, base, nudge=0.0):
                return np.ones_like(u), self.losses(u, base)

        result = adam.minimise(
            Slope(), np.zeros((2, 1)), np.zeros((1, 1)), iterations=7, rate=1.0, decay=0.5, decay_every=3
        )
        # Seven steps: three of 1, three of 1/2, one of 1/4.
        np.testing.assert_allclose(result.u, -(3 + 1.5 + 0.25), rtol=1e-6)
        np.testing.assert_allclose(
            1000 - result.history[:, 0], 2 * np.array([0, 1, 2, 3, 3.5, 4, 4.5]), rtol=1e-6
        )

    def test_the_gradient_of_each_start_is_clipped_by_itself(self):
        # Adam's first step does not see the norm, but its second does: one huge gradient, then small ones.
        class Cliff(Valley):
            count = 0

            def losses(self, u, base, nudge=0.0):
                return 100.0 + u[0]

            def gradient(self, u, base, nudge=0.0):
                self.count += 1
                size = np.where(base[0] == 1, 1e6 if self.count == 1 else 3.0, 3.0)
                return np.array([size, 0 * size]), self.losses(u, base)

        base = np.array([[0.0, 1.0]])
        found = adam.minimise(Cliff(), np.zeros((2, 2)), base, iterations=2, rate=1.0, clip_norm=3.0)
        np.testing.assert_allclose(found.u[0], [-2.0, -2.0], rtol=1e-6)
        found = adam.minimise(Cliff(), np.zeros((2, 2)), base, iterations=2, rate=1.0, clip_norm=1e9)
        assert found.u[0, 0] == pytest.approx(-2.0)
        assert found.u[0, 1] > -1.9

    def test_it_comes_back_from_where_nothing_is_defined(self):
        # The first step is thrown beyond x = -3.
        start = np.array([[-2.9], [9.0]])
        assert Valley().gradient(start, at_zero(start))[0][0, 0] > 0
        result = self.minimise(start, rate=2.0)
        assert np.isfinite(result.loss).all()
        assert (result.loss <= Valley().losses(start, None)).all()
        assert result.loss[0] < 30

    def test_a_start_without_derivatives_is_given_up(self):
        base = np.zeros((1, 6))
        base[0, 2] = 1
        result = self.minimise(STARTS, base)
        assert result.status[2] == Status.STOPPED_EARLY
        assert result.cause[2] == Cause.SENSITIVITY_NOT_FINITE
        assert 1 < result.iterations[2] < 20
        np.testing.assert_array_equal(result.u[:, 2], STARTS[:, 2])
        alone = self.minimise(np.delete(STARTS, 2, axis=1))
        np.testing.assert_array_equal(np.delete(result.u, 2, axis=1), alone.u)

    def test_a_start_that_cannot_be_evaluated(self):
        result = self.minimise(np.concatenate([STARTS, NOWHERE], axis=1), iterations=20)
        assert result.status[-1] == Status.DIVERGED
        assert result.cause[-1] == Cause.START_NOT_FINITE
        assert np.isnan(result.history[:, -1]).all()
        np.testing.assert_array_equal(result.u[:, :-1], self.minimise(STARTS, iterations=20).u)


METHODS = [
    (levenberg_marquardt.minimise, {"iterations": 12, "tolerance": 1e-12}),
    (adam.minimise, {"iterations": 12}),
    (cma_es.minimise, {"iterations": 12}),
]


class Stopped(BaseException):
    """Stands for a signal."""


class Folder:
    """A keeper that holds what it got, and stops the fit after some saves."""

    def __init__(self, after=None):
        self.kept, self.saves, self.after = {}, 0, after

    def load(self):
        return dict(self.kept)

    def save(self, arrays, now=False):
        self.kept = {name: np.array(array) for name, array in arrays.items()}
        self.saves += 1
        if self.saves == self.after:
            raise Stopped


@pytest.mark.parametrize(("method", "options"), METHODS, ids=["lm", "adam", "cma_es"])
class TestSearch:
    def test_histories_end_where_starts_do(self, method, options):
        u = np.concatenate([STARTS, np.ones((2, 1)), NOWHERE], axis=1)
        result = method(Valley(), u, at_zero(u), **options)
        assert result.history.shape == (12, 8)
        for start, done in enumerate(result.iterations):
            line = result.history[:, start]
            assert np.isfinite(line[:done]).all()
            assert np.isnan(line[done:]).all()
            assert (np.diff(line[:done]) <= 0).all()
        assert result.iterations.max() == 12
        assert result.iterations[-1] == 0

    def test_arguments_are_left_alone(self, method, options):
        u, base = STARTS.copy(), at_zero(STARTS)
        method(Valley(), u, base, **options)
        np.testing.assert_array_equal(u, STARTS)
        np.testing.assert_array_equal(base, at_zero(STARTS))

    def test_no_iterations(self, method, options):
        result = method(Valley(), STARTS, at_zero(STARTS), **{**options, "iterations": 0})
        np.testing.assert_array_equal(result.u, STARTS)
        assert (result.status == Status.ITERATION_LIMIT).all()
        assert result.history.shape == (0, 6)

    def test_progress_is_told_after_each_iteration(self, method, options):
        told = []
        result = method(Valley(), STARTS, at_zero(STARTS), progress=lambda *a: told.append(a), **options)
        assert [iteration for iteration, _, _ in told] == list(range(len(told)))
        assert len(told) == result.iterations.max()
        assert told[0][1] == 6

    def test_a_wide_shard_and_a_narrow_one_agree_beside_broken_ones(self, method, options):
        # What one start meets, none of the others may feel: nowhere to begin, no derivatives, a bound.
        poison = np.array([[-3.5, -2.9, 6.9, 1e3], [0.0, 9.0, 6.9, -1e3]])
        u, base = np.concatenate([poison[:, :2], STARTS, poison[:, 2:]], axis=1), np.zeros((1, 10))
        base[0, 1] = 1
        seeds = [np.random.SeedSequence(3, spawn_key=(start,)) for start in range(10)]
        own = {"seeds": seeds} if method is cma_es.minimise else {}
        together = method(Valley(), u, base, **options, **own)
        assert np.isfinite(together.loss[1:]).all()
        for place in range(10):
            own = {"seeds": seeds[place : place + 1]} if method is cma_es.minimise else {}
            column = slice(place, place + 1)
            alone = method(Valley(), u[:, column], base[:, column], **options, **own)
            for name in ("u", "loss", "status", "cause", "iterations", "history"):
                np.testing.assert_array_equal(
                    getattr(alone, name), getattr(together, name)[..., column], err_msg=name
                )

    @pytest.mark.parametrize("after", [1, 4, 11])
    def test_a_stopped_search_goes_on_to_the_same_bits(self, method, options, after):
        whole = method(Valley(), STARTS, at_zero(STARTS), **options)
        keeper = Folder(after)
        with pytest.raises(Stopped):
            method(Valley(), STARTS, at_zero(STARTS), keeper=keeper, **options)
        assert keeper.kept
        told = []
        result = method(
            Valley(), STARTS, at_zero(STARTS), keeper=keeper, progress=lambda *a: told.append(a), **options
        )
        assert len(told) <= 12 - after
        for name in ("u", "loss", "status", "cause", "iterations", "history"):
            np.testing.assert_array_equal(getattr(result, name), getattr(whole, name), err_msg=name)


def test_the_beginning_of_a_result():
    u = np.zeros((2, 3))
    result = StageResult.begin(u, np.array([1.0, np.inf, np.nan]), 5)
    assert result.status.tolist() == [Status.NOT_FITTED, Status.DIVERGED, Status.DIVERGED]
    assert result.cause.tolist() == [Cause.NONE, Cause.START_NOT_FINITE, Cause.START_NOT_FINITE]
    assert result.active.tolist() == [True, False, False]
    result.accept(np.array([0]), np.ones((2, 1)), np.array([0.5]))
    assert result.loss[0] == 0.5
    assert not u.any()


class TestStages:
    LM = {"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 30, "tolerance": 1e-9}

    def fit(self, stages, u=STARTS, **options):
        problem = Valley()
        return staged.fit_stages(problem, u, at_zero(u), problem.losses(u, None), stages, **options)

    def test_each_stage_goes_on_where_the_last_one_ended(self):
        # Two stages of 3 iterations cannot be better than the first alone, and 12 times 5 reach the end.
        short = {**self.LM, "iterations": 5}
        one, many = self.fit([short]), self.fit([short] * 12)
        assert (many.loss <= one.loss).all()
        assert (many.loss < 1e-6).all()
        assert many.history.shape == (60, 6)
        assert many.stage.tolist() == [number for number in range(12) for _ in range(5)]
        assert (many.iterations > one.iterations).any()

    def test_the_lowest_free_run_wins_wherever_it_was(self):
        # The last stage pulls every start to x = 3, whose free-run loss is 4.
        result = self.fit([self.LM, {**self.LM, "nudge": 2.0}])
        np.testing.assert_allclose(result.u, 1.0, atol=1e-3)
        assert (result.loss < 1e-6).all()
        # With nothing but a nudged stage, a start near the end of the valley is better than its end.
        start = np.array([[1.1, -1.2], [1.21, 1.0]])
        result = self.fit([{**self.LM, "nudge": 2.0}], start)
        np.testing.assert_array_equal(result.u[:, 0], start[:, 0])
        np.testing.assert_allclose(result.u[:, 1], [3.0, 9.0], rtol=0.01)
        np.testing.assert_allclose(result.loss, [0.01, 4.0], rtol=0.01)

    def test_a_lost_start(self):
        result = self.fit([self.LM, self.LM], np.concatenate([STARTS, NOWHERE], axis=1))
        assert result.status[-1] == Status.DIVERGED
        assert result.cause[-1] == Cause.START_NOT_FINITE
        assert not np.isfinite(result.loss[-1])
        assert (result.status[:-1] == Status.CONVERGED).all()

    def test_methods_can_be_mixed(self):
        steps = {"method": "adam", "nudge": 0.0, "iterations": 5, "rate": 0.1}
        result = self.fit([steps, self.LM])
        assert result.stage.tolist() == [0] * 5 + [1] * 30
        assert (result.loss < 1e-6).all()

    def test_default_stages(self):
        graded, spiking, recorded = default_stages(False), default_stages(True), default_stages(True, True)
        assert default_stages(False, True) == graded
        assert [stage.get("nudge", 0.0) for stage in graded] == [0.0]
        for stages in (spiking, recorded):
            # Annealed stage by stage, and never ending nudged.
            nudges = [stage.get("nudge", 0.0) for stage in stages]
            assert nudges[-1] == 0.0
            assert nudges == sorted(nudges, reverse=True)
            assert len(nudges) >= 3
        for stage in graded + spiking + recorded:
            staged.complete_stage(stage)
        graded[0]["nudge"] = 99.0
        assert "nudge" not in default_stages(False)[0]
        recorded[0]["loss"][0]["weight"] = 99.0
        assert default_stages(True, True)[0]["loss"][0]["weight"] == 1.0

    def test_default_stages_of_pools(self):
        assert all("keep" not in stage for stage in default_stages(True, True))
        assert [stage["keep"] for stage in default_stages(True, True, 16) if "keep" in stage] == [4]
        assert [stage["keep"] for stage in default_stages(True, True, 2) if "keep" in stage] == [1]

    def test_default_loss(self):
        for spiking, recorded in ((False, False), (False, True), (True, False)):
            assert default_loss(spiking, recorded) == {"V": 1.0}
        names = [term.name for term in make_loss(default_loss(True, True)).terms]
        assert names == ["squared_error_V", "filtered_spikes"]

    @pytest.mark.parametrize(
        ("stages", "message"),
        [
            ([], r"^stages: expected a list of at least one stage\. Received: \[\]"),
            ("default", r"^stages: expected a list .*Received: 'default'\. odynn.fitting.schedules has"),
            (["adam"], r"^stages\[0\]: expected {'method': …} with one of .*Received: 'adam'"),
            ([{"iterations": 3}], r"^stages\[0\]: expected {'method': …}.*Received: None"),
            ([{"method": "adam"}, {"method": "adm"}], r"^stages\[1\]: .*'adm'\. Did you mean 'adam'\?"),
            ([{"method": "adam", "rat": 1}], r"adam has no option 'rat'\. It has: .*Did you mean 'rate'\?"),
            ([{"method": "cma_es", "seeds": 1}], r"cma_es has no option 'seeds'"),
            ([{"method": "adam", "rate": "1"}], r"rate must be a number ≥ 0\. Received: '1'"),
            (
                [{"method": "adam", "iterations": 1.5}],
                r"iterations must be a whole number ≥ 0\. Received: 1\.5",
            ),
            ([{"method": "adam", "iterations": None}], r"iterations must be a whole number"),
            ([{"method": "adam", "nudge": -1}], r"nudge must be a number ≥ 0\. Received: -1"),
            ([{"method": "adam", "keep": 0.5}], r"keep must be a whole number"),
            ([{"method": "adam", "keep": 0}], r"keep must be a whole number ≥ 1\. Received: 0"),
        ],
    )
    def test_stages_that_there_are_not(self, stages, message):
        with pytest.raises(FitError, match=message):
            self.fit(stages)

    def test_what_a_stage_leaves_out_has_its_default(self):
        stage = staged.complete_stage({"method": "levenberg_marquardt"})
        assert stage["iterations"] == 40
        assert stage["nudge"] == 0.0
        one, other = self.fit([{"method": "levenberg_marquardt"}]), self.fit([stage])
        assert len(one.history) == 40
        np.testing.assert_array_equal(one.u, other.u)

    @pytest.mark.parametrize("after", [2, 7, 16, 20])
    def test_a_stopped_fit_goes_on_to_the_same_bits(self, after):
        steps = {"method": "adam", "nudge": 0.0, "iterations": 5, "rate": 0.1}
        stages = [{**self.LM, "nudge": 0.5, "iterations": 5}, steps, {**self.LM, "iterations": 12}]
        whole, keeper = self.fit(stages), Folder(after)
        with pytest.raises(Stopped):
            self.fit(stages, keeper=keeper)
        result = self.fit(stages, keeper=keeper)
        for name in ("u", "loss", "status", "cause", "iterations", "history", "stage"):
            np.testing.assert_array_equal(getattr(result, name), getattr(whole, name), err_msg=name)


LEAKY = load_model("leaky")


def original():
    """Return a model as the original library has them, with random numbers of its own."""
    return load_model(f"{Path(__file__).parents[1] / 'contract' / 'user_models.py'}:Original")


def share(row, values):
    """Return where values lie in the range of starts, 0 to 1, on the parameter's scale."""
    lower, upper = np.log(row.start) if row.scale == "log" else row.start
    return ((np.log(values) if row.scale == "log" else values) - lower) / (upper - lower)


class TestStarts:
    def test_each_start_has_its_own_stream(self):
        model = load_model("celegans")
        few = draw_starts(model, model.table(), range(3), 7)
        more = draw_starts(model, model.table(), [2, 5, 0], 7)
        for name in model.parameter_names:
            np.testing.assert_array_equal(few.values[name][[2, 0]], more.values[name][[0, 2]])
        assert more.ids.tolist() == [2, 5, 0]

    def test_changing_one_range_leaves_the_others(self):
        model = load_model("celegans")
        rows = experiment_parameters(model, {"ranges": {"C_m": [1.0, 2.0]}, "fixed": {"E_K": -70.0}})
        usual = draw_starts(model, model.table(), range(20), 7).values
        other = draw_starts(model, rows, range(20), 7).values
        changed = {name for name in usual if not np.array_equal(usual[name], other[name])}
        assert changed == {"C_m", "E_K"}
        assert (other["C_m"] >= 1.0).all() and (other["C_m"] <= 2.0).all()
        assert len(set(other["C_m"])) == 20
        np.testing.assert_array_equal(other["E_K"], -70.0)

    def test_starts_lie_inside_the_bounds(self):
        model = load_model("celegans")
        rows = experiment_parameters(model, {"bounds": {"C_m": [1.0, 2.0], "g_L": [0.2, 0.3]}})
        values = draw_starts(model, rows, range(30), 1).values
        for name, row in rows.items():
            assert (values[name] >= row.bounds[0]).all(), name
            assert (values[name] <= row.bounds[1]).all(), name

    @pytest.mark.parametrize("design", DESIGNS)
    @pytest.mark.parametrize("name", ["celegans", "original"])
    def test_every_design_draws_a_start_by_its_number(self, design, name):
        model = original() if name == "original" else load_model(name)
        rows = experiment_parameters(model, {"ranges": {"C_m": [1.0, 2.0]}, "fixed": {"E_L": -50.0}})
        every = draw_starts(model, rows, range(40), 7, design, 40)
        for ids in ([0], [1], [39, 0, 5], range(16, 40), [1, 2]):
            some = draw_starts(model, rows, ids, 7, design, 40)
            assert some.ids.tolist() == list(ids)
            for key in rows:
                np.testing.assert_array_equal(some.values[key], every.values[key][list(ids)])
        other = draw_starts(model, rows, range(40), 8, design, 40)
        for key, row in rows.items():
            values = every.values[key]
            assert (values >= row.bounds[0]).all() and (values <= row.bounds[1]).all()
            if row.free:
                assert len(set(values)) == 40
                assert not np.array_equal(values, other.values[key])
            else:
                assert set(values) == {row.default}
        assert (every.values["C_m"] >= 1.0).all() and (every.values["C_m"] <= 2.0).all()

    @pytest.mark.parametrize("design", ["sobol", "uniform", "random"])
    def test_more_starts_leave_the_first_ones(self, design):
        model = load_model("celegans")
        few = draw_starts(model, model.table(), range(10), 3, design, 10)
        more = draw_starts(model, model.table(), range(10), 3, design, 500)
        for name in few.values:
            np.testing.assert_array_equal(few.values[name], more.values[name])

    def test_a_latin_hypercube_has_a_start_in_every_slice_of_every_range(self):
        model = load_model("pospischil")
        rows = experiment_parameters(model, {"fixed": {"E_K": -90.0}})
        parts = [
            draw_starts(model, rows, ids, 5, "latin_hypercube", 50) for ids in (range(20), range(20, 50))
        ]
        scales = set()
        for name, row in rows.items():
            if row.free:
                scales.add(row.scale)
                values = np.concatenate([part.values[name] for part in parts])
                slices = sorted(np.floor(50 * share(row, values)).astype(int))
                assert slices == list(range(50)), name
        assert scales == {"linear", "log"}
        other = draw_starts(model, rows, range(20), 5, "latin_hypercube", 51)
        assert not np.array_equal(other.values["g_Na"], parts[0].values["g_Na"])

    def test_a_sobol_sequence_fills_each_half_quarter_and_eighth_equally(self):
        model = load_model("pospischil")
        rows = model.table()
        values = draw_starts(model, rows, range(8, 16), 5, "sobol").values
        pairs = 0
        for name, row in rows.items():
            # Of any 8 points that follow each other from a multiple of 8, one is in every eighth.
            assert sorted(np.floor(8 * share(row, values[name])).astype(int)) == list(range(8)), name
            pairs += 1
        assert pairs == 10

    @pytest.mark.parametrize("design", ["sobol", "latin_hypercube", "uniform"])
    def test_only_random_starts_ask_the_model(self, design):
        class Silent(LEAKY):
            @staticmethod
            def get_random():
                raise AssertionError("asked")

        drawn = draw_starts(Silent, Silent.table(), range(4), 1, design, 4)
        assert (drawn.values["g_L"] > 0).all()
        with pytest.raises(AssertionError, match="asked"):
            draw_starts(Silent, Silent.table(), range(4), 1)

    @pytest.mark.parametrize("design", DESIGNS)
    def test_a_group_has_one_value(self, design):
        model = load_model("celegans")
        shared = {"tau": ["p__tau", "q__tau", "n__tau"]}
        rows = experiment_parameters(model, {"shared": shared, "ranges": {"p__tau": [2.0, 9.0]}})
        values = draw_starts(model, rows, range(12), 1, design, 12).values
        np.testing.assert_array_equal(values["q__tau"], values["p__tau"])
        np.testing.assert_array_equal(values["n__tau"], values["p__tau"])
        assert len(set(values["p__tau"])) == 12
        assert (values["n__tau"] >= 2.0).all() and (values["n__tau"] <= 9.0).all()

    def test_initial_values_are_those_of_the_neuron_at_rest(self):
        model = load_model("celegans")
        changes = {
            "ranges": {"q__initial": [0.3, 0.4]},
            "fixed": {"f__initial": 0.25},
            "shared": {"x": ["p__initial", "e__initial"]},
        }
        rows = experiment_parameters(model, changes, "fitted")
        values = draw_starts(model, rows, range(6), 1).values
        usual = draw_starts(model, model.table(), range(6), 1).values
        for name, column in usual.items():
            np.testing.assert_array_equal(values[name], column)
        for place in range(6):
            P = {name: np.float64(column[place]) for name, column in usual.items()}
            V = np.float64(-60.0)
            for gate in "pn":
                steady = 1 / (1 + np.exp((P[f"{gate}__mdp"] - V) / P[f"{gate}__scale"]))
                assert values[f"{gate}__initial"][place] == pytest.approx(steady, rel=1e-9)
            rest = model.membrane.steady_state(V, P)[-1]
            highest = rows["Ca__initial"].bounds[1]
            assert values["Ca__initial"][place] == pytest.approx(min(rest, highest), rel=1e-9)
        assert (values["q__initial"] >= 0.3).all() and (values["q__initial"] <= 0.4).all()
        assert len(set(values["q__initial"])) == 6
        assert set(values["f__initial"]) == {0.25}
        np.testing.assert_array_equal(values["e__initial"], values["p__initial"])

    def test_wrong_keys_are_refused(self):
        class Forgetful(BioNeuron):
            default_params = {"g_L": 1.0, "E_L": -60.0}
            default_init_state = np.array([-60.0])

            def step(self, X, i):
                return X

            @staticmethod
            def get_random():
                return {"g_L": 1.0}

        with pytest.raises(ModelError, match=r"Forgetful\.get_random must return.*'E_L'"):
            draw_starts(Forgetful, Forgetful.table(), [0], 0)

    def test_starts_are_selected_by_number(self):
        starts = Starts(np.array([4, 5, 6]), {"a": np.array([1.0, 2.0, 3.0])}, {})
        chosen = starts.select(np.array([6, 4]))
        assert chosen.ids.tolist() == [6, 4]
        assert chosen.values["a"].tolist() == [3.0, 1.0]


SETTINGS = {
    "model": "leaky",
    "solver": "implicit_euler",
    "dt": 1.0,
    "precision": "float64",
    "loss": {"V": 1.0},
    "fit": {"stages": [{"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 25, "tolerance": 1e-8}]},
}
SYNTHETIC = {
    "parameters": {"C_m": 2.0, "g_L": 0.2},
    "duration": 60,
    "sweeps": [[{"step": 3, "from": 10, "to": 40}], [{"step": -2, "from": 5, "to": 30}]],
    "train": [0],
    "test": None,
    "observed": ["V"],
    "noise": {"V": 0.5},
    "seed": 3,
}


@pytest.fixture(scope="module")
def fitted():
    target = synthetic_target("leaky", SYNTHETIC, 1.0, "implicit_euler", steady_state=True)
    model = load_model("leaky")
    starts = draw_starts(model, experiment_parameters(model, {"fixed": {"E_L": -60.0}}), range(3, 9), 1)
    training = target.select(target.train)
    before = simulated_starts(experiment_problem(SETTINGS, training, starts), starts, training)
    return target, starts, before, fitted_starts(SETTINGS, target, starts, before)


class TestEvaluation:
    """From settings to a Fit, on a small experiment."""

    def test_the_simulated_starts(self, fitted):
        target, starts, before, _ = fitted
        assert before.ids.tolist() == list(range(3, 9))
        assert (before.status == Status.NOT_FITTED).all()
        np.testing.assert_allclose(before.loss, before.rmse["V"] ** 2, rtol=1e-12)
        assert before.units["V"] == "mV"
        for place in range(6):
            neuron = load_model("leaky")(
                {name: values[place] for name, values in starts.values.items()}, dt=1.0
            )
            errors = neuron.calculate(target.stimulus[:, 0])[:, 0] - target.observed["V"][:, 0]
            assert before.rmse["V"][place] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-9)

    def test_the_fit(self, fitted):
        _, starts, before, fit = fitted
        assert fit.ids.tolist() == starts.ids.tolist()
        np.testing.assert_array_equal(fit.start_loss, before.loss)
        assert fit.start_values is starts.values
        np.testing.assert_array_equal(fit.values["E_L"], starts.values["E_L"])
        # As good as noise of 0.5 mV lets it be: 60 samples, two parameters.
        np.testing.assert_allclose(fit.loss, 0.25, rtol=0.4)
        assert np.ptp(fit.loss) < 1e-6
        np.testing.assert_allclose(fit.values["C_m"], 2.0, rtol=0.15)
        np.testing.assert_allclose(fit.values["g_L"], 0.2, rtol=0.15)
        assert (fit.status == Status.CONVERGED).all()

    def test_the_errors_are_those_of_free_runs(self, fitted):
        target, _, _, fit = fitted
        for place in range(6):
            neuron = load_model("leaky")({name: values[place] for name, values in fit.values.items()}, dt=1.0)
            errors = neuron.calculate(target.stimulus)[:, 0] - target.observed["V"]
            rmse = np.sqrt(np.mean(errors**2, axis=0))
            assert fit.rmse_train["V"][place] == pytest.approx(rmse[0], rel=1e-9)
            assert fit.rmse_test["V"][place] == pytest.approx(rmse[1], rel=1e-9)
        np.testing.assert_allclose(fit.loss, fit.rmse_train["V"] ** 2, rtol=1e-9)
        assert (fit.rmse_test["V"] < 1.0).all()

    def test_a_loss_of_a_state_that_was_not_recorded(self, fitted):
        target, starts, _, _ = fitted
        settings = {**SETTINGS, "model": "celegans", "loss": {"V": 1.0, "Ca": 1.0}}
        with pytest.raises(FitError, match="no trace of Ca"):
            experiment_problem(settings, target, starts)
