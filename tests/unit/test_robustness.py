"""Searches where the numbers are bad: no influence, the same influence twice, immense derivatives, bounds."""

import numpy as np
import pytest

from odynn.data import Cause, Parameter, Status
from odynn.fitting import adam, cma_es, levenberg_marquardt
from odynn.fitting.transforms import Transform

TRUTH = np.array([0.5, -1.0, 0.25])


class Linear:
    """Residuals A (u - TRUTH) of a matrix A [residual, free]; ``base`` times too large derivatives."""

    def __init__(self, A):
        self.A = np.array(A, dtype=float)
        names = [f"x{place}" for place in range(self.A.shape[1])]
        self.transform = Transform({name: Parameter(name, 0.0, "1", (-9, 9)) for name in names})

    def _residuals(self, u):
        return self.A @ (u - TRUTH[: len(u), None])

    def losses(self, u, base, nudge=0.0):
        return np.sum(self._residuals(u) ** 2, axis=0)

    def normal_equations(self, u, base, nudge=0.0):
        H, g = (self.A.T @ self.A)[:, :, None] * base[0] ** 2, self.A.T @ self._residuals(u) * base[0]
        return H, g, self.losses(u, base)

    def gradient(self, u, base, nudge=0.0):
        return 2 * self.A.T @ self._residuals(u) * base[0], self.losses(u, base)


STARTS = np.array([[0.0, 2.0, -1.0, 1.0], [0.0, 1.0, 1.0, -2.0], [0.0, -1.0, 2.0, 0.5]])
ONES = np.ones((1, 4))


def test_a_parameter_without_influence_stays_and_the_others_are_found():
    problem = Linear([[1, 2, 0], [2, -1, 0], [0, 3, 0]])
    result = levenberg_marquardt.minimise(problem, STARTS, ONES, iterations=60, tolerance=1e-10)
    np.testing.assert_allclose(result.u[:2], TRUTH[:2, None] * ONES, atol=1e-5)
    np.testing.assert_array_equal(result.u[2], STARTS[2])
    assert (result.status == Status.CONVERGED).all()


def test_two_parameters_of_the_same_influence_move_together():
    problem = Linear([[1, 1, 0], [2, 2, 1], [0, 0, 1]])
    result = levenberg_marquardt.minimise(problem, STARTS, ONES, iterations=60, tolerance=1e-10)
    assert (result.loss < 1e-9).all()
    np.testing.assert_allclose(result.u[0] + result.u[1], TRUTH[:2].sum(), atol=1e-4)
    # Only their sum is determined: the difference is that of the start.
    np.testing.assert_allclose(result.u[0] - result.u[1], STARTS[0] - STARTS[1], atol=1e-4)


@pytest.mark.parametrize("method", [levenberg_marquardt.minimise, adam.minimise], ids=["lm", "adam"])
@pytest.mark.parametrize("size", [1e-150, 1e20, 1e153, 1e200])
def test_immense_and_tiny_derivatives_of_one_start_leave_the_others_alone(method, size):
    problem = Linear([[1, 2, 0.5], [2, -1, 0], [0, 3, 1]])
    base = ONES.copy()
    base[0, 1] = size
    with np.errstate(all="ignore"):
        together = method(problem, STARTS, base, iterations=30)
    sound = [0, 2, 3]
    alone = method(problem, STARTS[:, sound], ONES[:, sound], iterations=30)
    for name in ("u", "loss", "status", "cause", "iterations", "history"):
        np.testing.assert_array_equal(getattr(together, name)[..., sound], getattr(alone, name), err_msg=name)
    assert np.isfinite(together.u).all()
    assert together.loss[1] <= problem.losses(STARTS, base)[1]
    assert together.status[1] != Status.NOT_FITTED


def test_an_immense_gradient_is_clipped_to_its_direction():
    # Squared, these numbers are beyond what a number holds.
    problem = Linear(np.eye(3))
    found = [
        adam.minimise(problem, STARTS, np.full((1, 4), size), iterations=1, rate=0.01).u
        for size in (1e3, 1e200)
    ]
    np.testing.assert_allclose(found[1], found[0])
    assert (found[0] != STARTS).any()


def test_a_matrix_that_has_no_spectrum_ends_one_start():
    class Broken(Linear):
        def normal_equations(self, u, base, nudge=0.0):
            H, g, loss = super().normal_equations(u, base)
            H[..., base[0] == 2] = np.inf
            return H, g, loss

    base = ONES.copy()
    base[0, 2] = 2
    result = levenberg_marquardt.minimise(Broken(np.eye(3)), STARTS, base, iterations=40)
    assert result.status[2] == Status.STOPPED_EARLY
    assert result.cause[2] == Cause.SENSITIVITY_NOT_FINITE
    assert (result.loss[[0, 1, 3]] < 1e-6).all()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (levenberg_marquardt.minimise, {"iterations": 150, "tolerance": 0.0}),
        (adam.minimise, {"iterations": 200, "rate": 1.0, "decay": 1.0}),
        (cma_es.minimise, {"iterations": 300, "tolerance": 1e-12}),
    ],
    ids=["lm", "adam", "cma_es"],
)
def test_what_wants_beyond_a_bound_ends_at_it(method, options):
    class Beyond:
        transform = Transform(
            {"x": Parameter("x", 0.0, "1", (0.0, 1.0)), "y": Parameter("y", 0.0, "1", (-9, 9))}
        )

        def _residuals(self, u):
            x, y = self.transform.forward(u)
            return np.array([x - 2.0, y - 1.0])  # x is at most 1

        def losses(self, u, base, nudge=0.0):
            return np.sum(self._residuals(u) ** 2, axis=0)

        def normal_equations(self, u, base, nudge=0.0):
            slope, r = self.transform.slope(u), self._residuals(u)
            H = np.zeros((2, 2, u.shape[1]))
            H[0, 0], H[1, 1] = slope**2
            return H, slope * r, np.sum(r**2, axis=0)

        def gradient(self, u, base, nudge=0.0):
            _, g, loss = self.normal_equations(u, base)
            return 2 * g, loss

    u = np.array([[0.0, 2.0, -3.0], [0.0, 1.0, -1.0]])
    with np.errstate(over="ignore"):
        result = method(Beyond(), u, np.zeros((1, 3)), **options)
    values = Beyond.transform.forward(result.u)
    assert (values[0] > 0.99).all()
    np.testing.assert_allclose(values[1], 1.0, atol=0.01)
    assert np.isin(result.status, [Status.AT_BOUND, Status.ITERATION_LIMIT]).all()
