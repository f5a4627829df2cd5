"""A fit: a list of stages, each continuing from the points where the last one ended."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odynn.data import Cause, Status
from odynn.fitting import adam, levenberg_marquardt
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult

log = logging.getLogger(__name__)

METHODS: Mapping[str, Callable[..., StageResult]] = {
    "levenberg_marquardt": levenberg_marquardt.minimise,
    "adam": adam.minimise,
}
"""Optimisers by the name that a stage gives. To add one, write ``minimise(problem, u, base, *, nudge,
iterations, progress, **options)`` and a line here."""

_GRADED = [{"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 60, "tolerance": 1e-5}]
# The gain falls about fivefold a stage; a stage need not converge, it only hands its point on.
_SPIKING = [
    {"method": "levenberg_marquardt", "nudge": nudge, "iterations": iterations, "tolerance": 1e-4}
    for nudge, iterations in ((20.0, 15), (4.0, 15), (0.8, 15))
] + [{"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 40, "tolerance": 1e-5}]


def default_stages(spiking: bool) -> list[dict]:
    """Return the stages for a kind of model: nudged and annealed for a spiking one."""
    return [dict(stage) for stage in (_SPIKING if spiking else _GRADED)]


@dataclass(frozen=True)
class StagedResult:
    """What all stages together made of the starts.

    Attributes:
        u: [free, start] the point with the lowest free-run loss among the starting points and the
            ends of the stages.
        loss: [start] its free-run loss.
        status: [start] Status.
        cause: [start] Cause.
        iterations: [start] over all stages.
        history: [iteration, start] the loss that each stage minimised.
        stage: [iteration] number of the stage.
    """

    u: np.ndarray
    loss: np.ndarray
    status: np.ndarray
    cause: np.ndarray
    iterations: np.ndarray
    history: np.ndarray
    stage: np.ndarray


def fit_stages(
    problem: Problem, u: np.ndarray, base: np.ndarray, start_loss: np.ndarray, stages: Sequence[Mapping]
) -> StagedResult:
    """Run the stages one after the other on all starts.

    Args:
        problem: the loss and its derivatives.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        start_loss: [start] free-run loss of the starting points.
        stages: for each stage its ``method`` and the options of that method.

    Returns:
        The best points by the free run, whatever the stages minimised.
    """
    best_u, best_loss = u.copy(), np.where(np.isfinite(start_loss), start_loss, np.inf)
    parts = []
    for number, stage in enumerate(stages):
        options = dict(stage)
        method = options.pop("method")
        log.info("stage %d of %d: %s, %s", number + 1, len(stages), method, _described(options))
        part = METHODS[method](problem, u, base, progress=_progress(options["iterations"]), **options)
        parts.append(part)
        u = part.u
        free_run = part.loss if options["nudge"] == 0 else problem.losses(u, base)
        better = np.isfinite(free_run) & (free_run < best_loss)
        best_u[:, better], best_loss[better] = u[:, better], free_run[better]
    status, cause = parts[-1].status.copy(), parts[-1].cause.copy()
    lost = ~np.isfinite(best_loss)
    status[lost] = Status.DIVERGED
    cause[lost & (cause == Cause.NONE)] = Cause.TRACE_NOT_FINITE
    return StagedResult(
        best_u,
        best_loss,
        status,
        cause,
        sum(part.iterations for part in parts),
        np.concatenate([part.history for part in parts]),
        np.concatenate([np.full(len(part.history), number) for number, part in enumerate(parts)]),
    )


def _described(options: Mapping) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in options.items())


def _progress(iterations: int) -> Callable[[int, int, np.ndarray], None]:
    def progress(iteration: int, active: int, loss: np.ndarray) -> None:
        finite = loss[np.isfinite(loss)]
        if len(finite):
            log.info(
                "iteration %d of %d: %d starts active, loss best %.4g, median %.4g",
                iteration + 1, iterations, active, finite.min(), np.median(finite),
            )  # fmt: skip

    return progress
