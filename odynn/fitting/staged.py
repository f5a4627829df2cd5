"""A fit: a list of stages, each continuing from the points where the last one ended."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from odynn.data import Cause, Status
from odynn.fitting import adam, levenberg_marquardt
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult
from odynn.fitting.search import Keeper, NoKeeper

log = logging.getLogger(__name__)

METHODS: Mapping[str, Callable[..., StageResult]] = {
    "levenberg_marquardt": levenberg_marquardt.minimise,
    "adam": adam.minimise,
}
"""Optimisers by the name that a stage gives. To add one, write ``minimise(problem, u, base, *, nudge,
iterations, progress, keeper, **options)`` and a line here."""

_GRADED = [{"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 100, "tolerance": 1e-4}]
# The gain falls about fivefold a stage; a stage need not converge, it only hands its point on.
_SPIKING = [
    {"method": "levenberg_marquardt", "nudge": nudge, "iterations": iterations, "tolerance": 1e-4}
    for nudge, iterations in ((20.0, 15), (4.0, 15), (0.8, 15))
] + [{"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 40, "tolerance": 1e-4}]


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
    problem: Problem,
    u: np.ndarray,
    base: np.ndarray,
    start_loss: np.ndarray,
    stages: Sequence[Mapping],
    keeper: Keeper | None = None,
) -> StagedResult:
    """Run the stages one after the other on all starts.

    Args:
        problem: the loss and its derivatives.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        start_loss: [start] free-run loss of the starting points.
        stages: for each stage its ``method``, the options of that method, and its ``loss`` if it has
            one of its own.
        keeper: holds the state of an interrupted fit, and gets it as it changes.

    Returns:
        The best points by the free run, whatever the stages minimised.
    """
    keeper = NoKeeper() if keeper is None else keeper
    best_u, best_loss = u.copy(), np.where(np.isfinite(start_loss), start_loss, np.inf)
    finished = _StageKeeper(keeper)
    parts = []
    for number, stage in enumerate(stages):
        options = dict(stage)
        method, own_loss = options.pop("method"), options.pop("loss", None)
        minimised = problem if own_loss is None else problem.minimising(own_loss)
        part = finished.result(number)
        if part is None:
            log.info("stage %d of %d: %s, %s", number + 1, len(stages), method, _described(options))
            progress = _progress(options["iterations"])
            part = METHODS[method](minimised, u, base, progress=progress, keeper=finished, **options)
            finished.end_stage(part)
        parts.append(part)
        u = part.u
        ranked = options["nudge"] == 0 and minimised is problem
        free_run = part.loss if ranked else problem.losses(u, base)
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


class _StageKeeper:
    """Keeps the results of the stages that are done beside the state of the one that runs."""

    def __init__(self, keeper: Keeper):
        self._keeper = keeper
        saved = keeper.load()
        self._done = {name: array for name, array in saved.items() if name.startswith("stage")}
        self._running = {
            name.partition("/")[2]: array for name, array in saved.items() if name.startswith("running/")
        }
        if saved:
            log.info(
                "going on from a checkpoint: %d stages done",
                len({name.partition("/")[0] for name in self._done}),
            )

    def result(self, number: int) -> StageResult | None:
        """Return the result of a stage that is done."""
        names = [field.name for field in fields(StageResult)]
        if f"stage{number}/{names[0]}" not in self._done:
            return None
        return StageResult(**{name: self._done[f"stage{number}/{name}"] for name in names})

    def end_stage(self, part: StageResult) -> None:
        """Keep the result of the stage that has just ended."""
        number = len({name.partition("/")[0] for name in self._done})
        self._done |= {
            f"stage{number}/{field.name}": getattr(part, field.name) for field in fields(StageResult)
        }
        self._keeper.save(self._done, now=True)

    def load(self) -> dict[str, np.ndarray]:
        """Return the state of the stage that was running; it serves once."""
        running, self._running = self._running, {}
        return running

    def save(self, arrays: Mapping[str, np.ndarray], now: bool = False) -> None:
        """Save the state of the running stage."""
        self._keeper.save(self._done | {f"running/{name}": array for name, array in arrays.items()}, now)


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
