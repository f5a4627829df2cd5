"""Levenberg–Marquardt on all starts at once, each with its own damping, step control and stop.

One iteration takes the normal equations of the starts that moved, solves them for several dampings
around each start's own, and tries all of these points in one batched forward pass: a forward pass
costs a twentieth of the normal equations, so that hardly any are ever computed for a step that is
then refused. D. W. Marquardt, J. Soc. Ind. Appl. Math. 11 (1963) 431–441, doi:10.1137/0111030.
"""

from collections.abc import Callable

import numpy as np

from odynn.data import Cause, Status
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult

# Dampings tried, as factors of a start's own, and what the own becomes where none of them helps.
_TRIALS = np.array([0.01, 0.1, 1.0, 10.0])
_RAISE = 100.0
_DAMPING_START, _DAMPING_LEAST, _DAMPING_MOST = 1e-2, 1e-9, 1e8
# A diagonal element counts as at least this share of the largest: a parameter without influence
# must not run away on rounding errors.
_DIAGONAL_FLOOR = 1e-6
# The longest step in any one coordinate; the space is scaled to order one.
_LONGEST = 2.0
# Iterations of small progress in a row that count as convergence.
_PATIENCE = 3


def minimise(
    problem: Problem,
    u: np.ndarray,
    base: np.ndarray,
    *,
    nudge: float = 0.0,
    iterations: int = 40,
    tolerance: float = 1e-5,
    progress: Callable[[int, int, np.ndarray], None] = lambda *_: None,
) -> StageResult:
    """Minimise the loss from every start.

    Args:
        problem: the loss and its derivatives.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        nudge: gain K, 1/ms.
        iterations: most iterations of a start.
        tolerance: a relative decrease of the loss below this, three times in a row, is convergence.
        progress: called after each iteration with its number, the number of active starts, and the
            losses [start].

    Returns:
        The best points found and how each start ended.
    """
    result = StageResult.begin(u, problem.losses(u, base, nudge), iterations)
    number = u.shape[1]
    at, at_loss = result.u.copy(), result.loss.copy()  # where the derivatives H and g belong
    before, before_loss = at.copy(), at_loss.copy()
    damping = np.full(number, _DAMPING_START)
    calm = np.zeros(number, dtype=int)
    moved = np.ones(number, dtype=bool)
    H = np.full((number, len(u), len(u)), np.nan)
    g = np.full((number, len(u)), np.nan)
    for iteration in range(iterations):
        fresh = np.flatnonzero(result.active & moved)
        if len(fresh):
            H_new, g_new, _ = problem.normal_equations(at[:, fresh], base[:, fresh], nudge)
            finite = np.isfinite(H_new).all(axis=(0, 1)) & np.isfinite(g_new).all(axis=0)
            H[fresh[finite]], g[fresh[finite]] = H_new[..., finite].transpose(2, 0, 1), g_new[:, finite].T
            # Sensitivities explode there: go back to the point before and take a shorter step.
            lost = fresh[~finite]
            at[:, lost], at_loss[lost] = before[:, lost], before_loss[lost]
            damping[lost] *= _RAISE
            result.stop(
                lost[np.isnan(g[lost]).any(axis=1)], Status.STOPPED_EARLY, Cause.SENSITIVITY_NOT_FINITE
            )
            moved[fresh] = False
        active = np.flatnonzero(result.active)
        if not len(active):
            break
        trials = damping[active, None] * _TRIALS
        steps = _steps(H[active], g[active], trials)
        points = at[:, active, None] + steps.transpose(2, 0, 1)
        losses = problem.losses(
            points.reshape(len(u), -1), np.repeat(base[:, active], len(_TRIALS), axis=1), nudge
        ).reshape(len(active), -1)
        losses = np.where(np.isfinite(losses), losses, np.inf)
        rows, chosen = np.arange(len(active)), np.argmin(losses, axis=1)
        loss = losses[rows, chosen]
        better = loss < at_loss[active]
        accepted = active[better]
        before[:, accepted], before_loss[accepted] = at[:, accepted], at_loss[accepted]
        at[:, accepted], at_loss[accepted] = points[:, rows, chosen][:, better], loss[better]
        moved[accepted] = True
        damping[active] = np.where(better, trials[rows, chosen], damping[active] * _RAISE)
        damping = np.maximum(damping, _DAMPING_LEAST)

        gain = result.loss[active] - at_loss[active]
        small = gain < tolerance * result.loss[active]
        best = active[gain > 0]
        result.accept(best, at[:, best], at_loss[best])
        result.iterations[active] += 1
        result.history[iteration, active] = result.loss[active]
        calm[active] = np.where(better & small, calm[active] + 1, np.where(better, 0, calm[active]))
        result.stop(active[calm[active] >= _PATIENCE], Status.CONVERGED)
        # No descent at any damping: the gradient is within rounding of zero.
        stuck = (damping[active] > _DAMPING_MOST) & result.active[active]
        result.stop(active[stuck], Status.CONVERGED, Cause.NO_DESCENT)
        progress(iteration, int(result.active.sum()), result.loss)
    return result.end(problem.transform)


def _steps(H: np.ndarray, g: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """Return the step of each start for each damping, [start, trial, free]."""
    diagonal = np.einsum("nii->ni", H)
    largest = diagonal.max(axis=1, keepdims=True)
    scale = np.sqrt(np.maximum(diagonal, _DIAGONAL_FLOOR * np.maximum(largest, np.finfo(float).tiny)))
    scaled = H / (scale[:, :, None] * scale[:, None, :])
    right = -g / scale
    # The spectrum once, and every damping is a division: no factorisation a trial, and no failure
    # on a singular matrix.
    spectrum, basis = np.linalg.eigh(scaled)
    along = np.einsum("nij,ni->nj", basis, right)
    weights = along[:, None, :] / (np.maximum(spectrum, 0.0)[:, None, :] + damping[:, :, None])
    steps = np.einsum("nij,nkj->nki", basis, weights) / scale[:, None, :]
    longest = np.abs(steps).max(axis=2, keepdims=True)
    return steps * np.minimum(1.0, _LONGEST / np.maximum(longest, np.finfo(float).tiny))
