"""CMA-ES on functions whose lowest points are known, and its random numbers."""

import os
import random

import numpy as np
import pytest

from odynn.data import Cause, Parameter, Status
from odynn.fitting import cma_es, staged
from odynn.fitting.transforms import Transform


class Bowl:
    """A quadratic function of any number of variables, lowest (1) at u = 0.5; ``steps`` makes it a staircase.

    ``loss`` may change what it returns. It has no derivatives.
    """

    def __init__(self, free=3, steps=0.0, loss=lambda u, value: value):
        names = [f"x{number}" for number in range(free)]
        self.transform = Transform({name: Parameter(name, 0.0, "1", (-9, 9)) for name in names})
        self.stretch = np.logspace(0, 1, free)[:, None]
        self.steps, self.loss, self.widths = steps, loss, []

    def losses(self, u, base, nudge=0.0):
        self.widths.append(u.shape[1])
        value = 1.0 + np.sum((self.stretch * (u - 0.5 - nudge)) ** 2, axis=0)
        if self.steps:
            value = np.ceil(value / self.steps) * self.steps
        return self.loss(u, value)


def minimise(problem, u, **options):
    return cma_es.minimise(problem, u, np.zeros((1, u.shape[1])), **options)


@pytest.mark.parametrize("free", [1, 2, 5, 12])
def test_it_finds_the_lowest_point(free):
    u = np.random.default_rng(0).normal(size=(free, 4))
    result = minimise(Bowl(free), u, iterations=400, tolerance=1e-9)
    np.testing.assert_allclose(result.u, 0.5, atol=1e-3)
    assert (result.status == Status.CONVERGED).all()
    assert (result.iterations < 400).all()


def test_it_finds_it_on_a_staircase_where_gradients_are_zero():
    u = np.random.default_rng(0).normal(size=(3, 6))
    start = Bowl(steps=0.25).losses(u, None)
    result = minimise(Bowl(steps=0.25), u, iterations=150)
    assert (start > 2).any()
    np.testing.assert_allclose(result.loss, 1.25)
    assert (result.status == Status.CONVERGED).all()


def test_the_populations_of_all_starts_are_one_batch():
    problem = Bowl(3)
    minimise(problem, np.zeros((3, 5)), iterations=4)
    assert problem.widths == [5] + [5 * 7] * 4  # 4 + 3 ln 3 = 7.3 points each
    problem = Bowl(3)
    minimise(problem, np.zeros((3, 5)), iterations=2, population=20)
    assert problem.widths == [5, 100, 100]


def test_the_first_points_are_spread_as_asked():
    seen = []
    problem = Bowl(2, loss=lambda u, value: seen.append(u) or value)
    minimise(problem, np.full((2, 50), 3.0), iterations=1, sigma=0.2, population=40)
    np.testing.assert_allclose(seen[1].mean(), 3.0, atol=0.02)
    np.testing.assert_allclose(seen[1].std(), 0.2, rtol=0.05)


def test_losses_that_are_not_finite_come_last():
    # Half of the space is not defined; the lowest point lies on its edge.
    def half(u, value):
        return np.where(u[0] < 0.5, [np.nan, np.inf][int(u[1, 0] > 0)], value)

    u = np.random.default_rng(1).uniform(0.6, 2.0, (3, 4))
    result = minimise(Bowl(loss=half), u, iterations=300)
    np.testing.assert_allclose(result.loss, 1.0, atol=0.01)
    assert (result.u[0] >= 0.5).all()


def test_a_start_with_nothing_around_it_is_given_up():
    # The start itself is finite, and so is nothing else; the others do not notice.
    def island(u, value):
        return np.where((u[0] > 5) & (u != 6.0).any(axis=0), np.nan, value)

    u = np.array([[0.0, 6.0, 1.0], [0.0, 6.0, 1.0], [0.0, 6.0, 1.0]])
    seeds = [np.random.SeedSequence(0, spawn_key=(place,)) for place in range(3)]
    result = minimise(Bowl(loss=island), u, iterations=60, seeds=seeds)
    assert result.status[1] == Status.STOPPED_EARLY
    assert result.cause[1] == Cause.TRACE_NOT_FINITE
    assert result.iterations[1] == 10
    np.testing.assert_array_equal(result.u[:, 1], 6.0)
    others = minimise(Bowl(), u[:, [0, 2]], iterations=60, seeds=[seeds[0], seeds[2]])
    np.testing.assert_array_equal(result.u[:, [0, 2]], others.u)


def test_starts_that_have_converged_leave_the_batch():
    problem = Bowl(2)
    u = np.array([[0.5, 4.0], [0.5, -4.0]])
    result = minimise(problem, u, iterations=200, sigma=0.01, tolerance=1e-3)
    assert (result.status == Status.CONVERGED).all()
    assert result.iterations[0] < result.iterations[1]
    assert problem.widths[-1] == 6


def test_random_numbers_belong_to_the_seed_the_start_and_the_stage():
    u = np.zeros((3, 4))
    stages = [{"method": "cma_es", "iterations": 3}] * 2

    def fit(ids, stages=stages, **options):
        problem = Bowl()
        part = u[:, : len(ids)]
        start = problem.losses(part, None)
        return staged.fit_stages(problem, part, np.zeros((1, len(ids))), start, stages, ids=ids, **options)

    whole = fit([4, 5, 6, 7])
    assert len(np.unique(whole.u[0])) == 4
    np.testing.assert_array_equal(fit([7, 5]).u, whole.u[:, [3, 1]])
    np.testing.assert_array_equal(fit([4, 5, 6, 7], seed=1).u, whole.u)
    assert (fit([4, 5, 6, 7], seed=2).u != whole.u).any(axis=0).all()
    # The second stage does not repeat the numbers of the first.
    seen = []
    problem = Bowl(loss=lambda u, value: seen.append(u) or value)
    flat = [{"method": "cma_es", "iterations": 1, "sigma": 1e-9}] * 2
    staged.fit_stages(problem, u, np.zeros((1, 4)), problem.losses(u, None), flat)
    first, second = (points for points in seen if points.shape[1] > 4)
    assert not np.allclose(
        first - first.mean(axis=1)[:, None], second - second.mean(axis=1)[:, None], rtol=1e-3, atol=0
    )


def test_nothing_global_is_touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = random.getstate(), np.random.get_state()[1].tolist(), np.geterr()  # noqa: NPY002
    minimise(Bowl(), np.zeros((3, 2)), iterations=20)
    assert (random.getstate(), np.random.get_state()[1].tolist(), np.geterr()) == before  # noqa: NPY002
    assert os.listdir(tmp_path) == []
