"""Adam with the adjoint gradient, each start by itself.

D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015, arXiv 1412.6980. The
default schedule is the original library's: a rate that falls by a factor every few epochs, and the
gradient of each start clipped to a largest norm.
"""

from collections.abc import Callable

import numpy as np

from odynn.data import Cause, Status
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult

_MEMORY, _MEMORY_OF_SQUARES, _EPSILON = 0.9, 0.999, 1e-8
# A start whose loss or gradient is not finite goes back to its best point with half the rate, this often.
_RETRIES = 8


def minimise(
    problem: Problem,
    u: np.ndarray,
    base: np.ndarray,
    *,
    nudge: float = 0.0,
    iterations: int = 700,
    rate: float = 0.1,
    decay: float = 0.92,
    decay_every: int = 9,
    clip_norm: float = 5.0,
    progress: Callable[[int, int, np.ndarray], None] = lambda *_: None,
) -> StageResult:
    """Minimise the loss from every start.

    Args:
        problem: the loss and its gradient.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        nudge: gain K, 1/ms.
        iterations: epochs.
        rate: first step size, in the unconstrained space.
        decay: factor of the rate.
        decay_every: epochs after which the rate falls by ``decay``.
        clip_norm: largest norm of a start's gradient.
        progress: called after each epoch with its number, the number of active starts, and the best
            losses [start].

    Returns:
        The best points found and how each start ended.
    """
    result = StageResult.begin(u, problem.losses(u, base, nudge), iterations)
    u = u.copy()
    first, second = np.zeros_like(u), np.zeros_like(u)
    epochs, retries = np.zeros(u.shape[1], dtype=int), np.zeros(u.shape[1], dtype=int)
    for iteration in range(iterations):
        active = np.flatnonzero(result.active)
        if not len(active):
            break
        gradient, loss = problem.gradient(u[:, active], base[:, active], nudge)
        finite = np.isfinite(loss) & np.isfinite(gradient).all(axis=0)
        better = finite & (loss < result.loss[active])
        result.accept(active[better], u[:, active[better]], loss[better])

        lost, moving = active[~finite], active[finite]
        u[:, lost] = result.u[:, lost]
        first[:, lost] = second[:, lost] = 0.0
        epochs[lost] = 0
        retries[lost] += 1
        result.stop(lost[retries[lost] > _RETRIES], Status.STOPPED_EARLY, Cause.SENSITIVITY_NOT_FINITE)

        g = gradient[:, finite]
        g = g * np.minimum(1.0, clip_norm / np.maximum(np.linalg.norm(g, axis=0), np.finfo(float).tiny))
        epochs[moving] += 1
        first[:, moving] = _MEMORY * first[:, moving] + (1 - _MEMORY) * g
        second[:, moving] = _MEMORY_OF_SQUARES * second[:, moving] + (1 - _MEMORY_OF_SQUARES) * g * g
        mean = first[:, moving] / (1 - _MEMORY ** epochs[moving])
        spread = np.sqrt(second[:, moving] / (1 - _MEMORY_OF_SQUARES ** epochs[moving]))
        size = rate * decay ** (iteration // decay_every) * 0.5 ** retries[moving]
        u[:, moving] -= size * mean / (spread + _EPSILON)

        result.iterations[active] += 1
        result.history[iteration, active] = result.loss[active]
        progress(iteration, int(result.active.sum()), result.loss)
    _take_last(problem, u, base, nudge, result)
    return result.end(problem.transform)


def _take_last(problem: Problem, u: np.ndarray, base: np.ndarray, nudge: float, result: StageResult) -> None:
    """Consider the point after the last step, whose loss no epoch has looked at."""
    active = np.flatnonzero(result.active)
    if len(active):
        loss = problem.losses(u[:, active], base[:, active], nudge)
        better = np.isfinite(loss) & (loss < result.loss[active])
        result.accept(active[better], u[:, active[better]], loss[better])
