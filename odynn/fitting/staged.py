"""A fit: a list of stages, each continuing from the points where the last one ended."""

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real

import numpy as np

from odynn.data import Cause, Status
from odynn.errors import FitError, did_you_mean, listed
from odynn.fitting import adam, cma_es, levenberg_marquardt
from odynn.fitting.journal import Journal
from odynn.fitting.pools import Pools
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult
from odynn.fitting.search import Keeper, NoKeeper

log = logging.getLogger(__name__)

METHODS: Mapping[str, Callable[..., StageResult]] = {
    "levenberg_marquardt": levenberg_marquardt.minimise,
    "adam": adam.minimise,
    "cma_es": cma_es.minimise,
}
"""Optimisers by the name that a stage gives. To add one, write ``minimise(problem, u, base, *, nudge,
iterations, progress, keeper, **options)`` and a line here; one that draws random numbers also takes
``seeds``."""

_NOT_OPTIONS = frozenset({"progress", "keeper", "seeds"})
# Iterations of the first stage that show whether a start is hopeless.
_ATTEMPT = 3


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


def complete_stage(stage: Mapping, place: str = "stage") -> dict:
    """Return a stage with every option of its method; those that are not given have their defaults.

    Args:
        stage: ``method``, and options of the method; ``keep`` and ``loss``, see ``fit_stages``.
        place: what a message calls the stage.

    Raises:
        FitError: if the method, an option, or its value is none that there is.
    """
    if not isinstance(stage, Mapping) or stage.get("method") not in METHODS:
        method = stage.get("method") if isinstance(stage, Mapping) else stage
        raise FitError(
            f"{place}: expected {{'method': …}} with one of {listed(METHODS)}. Received: {method!r}."
            + did_you_mean(method, METHODS)
        )
    method = METHODS[stage["method"]]
    options = {
        name: argument.default
        for name, argument in inspect.signature(method).parameters.items()
        if argument.kind is argument.KEYWORD_ONLY and name not in _NOT_OPTIONS
    }
    complete = {"method": stage["method"], "keep": None, "loss": None, **options}
    for name, value in stage.items():
        if name not in complete:
            raise FitError(
                f"{place}: {stage['method']} has no option {name!r}. It has: {listed(complete)}."
                + did_you_mean(name, complete)
            )
        if name not in ("method", "loss") and not (value is None and complete[name] is None):
            kind, words = (
                (Real, "a number") if isinstance(complete[name], float) else (Integral, "a whole number")
            )
            least = 1 if complete[name] is None else 0
            if not isinstance(value, kind) or isinstance(value, bool) or not value >= least:
                raise FitError(
                    f"{place}: {name} must be {words} ≥ {least}. Received: {value!r}. Give {words}."
                )
    return complete | dict(stage)


def fit_stages(
    problem: Problem,
    u: np.ndarray,
    base: np.ndarray,
    start_loss: np.ndarray,
    stages: Sequence[Mapping],
    keeper: Keeper | None = None,
    *,
    ids: Sequence[int] | None = None,
    seed: int = 1,
    pool: int = 1,
    hopeless: float | None = None,
) -> StagedResult:
    """Run the stages one after the other.

    Args:
        problem: the loss and its derivatives.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        start_loss: [start] free-run loss of the starting points.
        stages: for each stage its ``method``, options of that method, and its ``loss`` if it has one of
            its own; with ``keep``, only so many starts of each pool go on to it, those with the lowest
            free-run loss.
        keeper: holds the state of an interrupted fit, and gets it as it changes.
        ids: [start] numbers of the starts, which say the pools and the random numbers; None: from 0.
        seed: of the random numbers of methods that draw some.
        pool: so many starts of consecutive numbers are a pool.
        hopeless: a start that a first attempt leaves above this share of the median ``start_loss`` of
            its pool gives way to one that the first stage would not keep; None: none does.

    Returns:
        The best points by the free run, whatever the stages minimised.

    Raises:
        FitError: if there is no stage, or one is not as ``complete_stage`` wants it.
    """
    if isinstance(stages, str) or not len(stages):
        raise FitError(
            f"stages: expected a list of at least one stage. Received: {stages!r}. "
            "odynn.fitting.schedules has one for each kind of model."
        )
    stages = [complete_stage(stage, f"stages[{number}]") for number, stage in enumerate(stages)]
    ids = np.arange(u.shape[1]) if ids is None else np.asarray(ids)
    fit = _Fit(problem, u, base, start_loss, ids, seed, stages, Journal(keeper or NoKeeper()))
    pools, going = Pools(ids, pool), np.arange(len(ids))
    for number, stage in enumerate(stages):
        if stage["keep"] is not None:
            if number == 0 and hopeless is not None:
                kept, gave_way = pools.promising(fit.free_run, stage["keep"], hopeless, fit.attempt)
                fit.give_up(gave_way)
                going = np.setdiff1d(going, gave_way)
            else:
                kept = pools.best(going, fit.free_run, stage["keep"])
            fit.stop(np.setdiff1d(going, kept), Cause.OUTPACED)
            going = kept
        fit.run(number, going)
    return fit.result()


class _Fit:
    """All starts on their way through the stages.

    Attributes:
        free_run: [start] the free-run loss of where each start is now.
    """

    def __init__(self, problem, u, base, start_loss, ids, seed, stages, done):
        self._problem, self._base, self._ids, self._seed = problem, base, ids, seed
        self._stages, self._done = stages, done
        self._u, self.free_run = u.copy(), np.array(start_loss, dtype=float)
        self._best_u, self._best_loss = u.copy(), np.where(np.isfinite(start_loss), start_loss, np.inf)
        self._status = np.full(len(ids), Status.NOT_FITTED, dtype=np.int8)
        self._cause = np.full(len(ids), Cause.NONE, dtype=np.int8)
        self._iterations = np.zeros((len(stages), len(ids)), dtype=np.int64)
        self._histories = [np.full((stage["iterations"], len(ids)), np.nan) for stage in stages]
        self._attempts: list[tuple[np.ndarray, StageResult, np.ndarray]] = []

    def run(self, number: int, places: np.ndarray) -> None:
        """Run a stage on the starts at these places, from where they are now."""
        part, free_run = self._part(f"stage{number}", number, self._stages[number], places)
        self._u[:, places], self.free_run[places] = part.u, free_run
        self._note(number, places, part, free_run)

    def attempt(self, places: np.ndarray) -> np.ndarray:
        """Return the free-run loss, [start], after the beginning of the first stage, if that is lower.

        It leaves no trace: a start that goes on begins the stage anew, and ends as it would have.
        """
        stage = {**self._stages[0], "iterations": min(_ATTEMPT, self._stages[0]["iterations"])}
        part, free_run = self._part(f"attempt{len(self._attempts)}", 0, stage, places)
        self._attempts.append((places, part, free_run))
        lowest = np.fmin(free_run, self.free_run[places])
        return np.where(np.isfinite(lowest), lowest, np.inf)

    def give_up(self, gave_way: np.ndarray) -> None:
        """Put the attempts on these starts on record: they were all that is done on them."""
        for places, part, free_run in self._attempts:
            chosen = np.isin(places, gave_way)
            columns = {field.name: getattr(part, field.name)[..., chosen] for field in fields(StageResult)}
            self._note(0, places[chosen], StageResult(**columns), free_run[chosen])
        self.stop(gave_way, Cause.HOPELESS)

    def stop(self, places: np.ndarray, cause: Cause) -> None:
        """End the work on these starts, except where it has ended in another way."""
        places = places[self._status[places] != Status.DIVERGED]
        self._status[places], self._cause[places] = Status.STOPPED_EARLY, cause

    def result(self) -> StagedResult:
        """Return what became of every start."""
        lost = ~np.isfinite(self._best_loss)
        self._status[lost] = Status.DIVERGED
        unsaid = lost & np.isin(self._cause, (Cause.NONE, Cause.OUTPACED, Cause.HOPELESS))
        never = self._iterations.sum(axis=0) == 0
        self._cause[unsaid] = np.where(never, Cause.START_NOT_FINITE, Cause.TRACE_NOT_FINITE)[unsaid]
        return StagedResult(
            self._best_u,
            self._best_loss,
            self._status,
            self._cause,
            self._iterations.sum(axis=0),
            np.concatenate(self._histories),
            np.repeat(np.arange(len(self._histories)), [len(history) for history in self._histories]),
        )

    def _part(self, name, number, stage, places) -> tuple[StageResult, np.ndarray]:
        """Run a stage on some starts, if it is not done; return its result and the free-run losses."""
        options = {key: value for key, value in stage.items() if key not in ("method", "keep", "loss")}
        problem, own_loss = self._problem, stage["loss"]
        minimised = problem if own_loss is None else problem.minimising(own_loss)
        u, base = self._u[:, places], self._base[:, places]
        part = self._done.result(name)
        if part is None:
            what = "stage" if name.startswith("stage") else "a first attempt at stage"
            count = number + 1, len(self._stages), stage["method"], _described(options)
            log.info(f"{what} %d of %d: %s, %s", *count)
            minimise = METHODS[stage["method"]]
            if "seeds" in inspect.signature(minimise).parameters:
                options["seeds"] = [
                    np.random.SeedSequence(self._seed, spawn_key=(int(start), number))
                    for start in self._ids[places]
                ]
            progress = _progress(stage["iterations"])
            part = minimise(minimised, u, base, progress=progress, keeper=self._done, **options)
            self._done.end(name, part)
        ranked = stage["nudge"] == 0 and minimised is problem
        return part, part.loss if ranked else problem.losses(part.u, base)

    def _note(self, number: int, places: np.ndarray, part: StageResult, free_run: np.ndarray) -> None:
        self._status[places], self._cause[places] = part.status, part.cause
        self._iterations[number, places] = part.iterations
        self._histories[number][: len(part.history), places] = part.history
        better = np.isfinite(free_run) & (free_run < self._best_loss[places])
        self._best_u[:, places[better]] = part.u[:, better]
        self._best_loss[places[better]] = free_run[better]


def _described(options: Mapping) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in options.items() if value is not None)


def _progress(iterations: int) -> Callable[[int, int, np.ndarray], None]:
    def progress(iteration: int, active: int, loss: np.ndarray) -> None:
        finite = loss[np.isfinite(loss)]
        if len(finite):
            log.info(
                "iteration %d of %d: %d starts active, loss best %.4g, median %.4g",
                iteration + 1, iterations, active, finite.min(), np.median(finite),
            )  # fmt: skip

    return progress
