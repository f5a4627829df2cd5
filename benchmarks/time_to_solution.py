"""At equal wall time, how many starts does each optimiser bring to the solution?

The spiking cell with 3 conductances (solved: error of the parameters below 5 %) and the original library's
own task with 28 parameters (solved: the voltage within 0.1 mV), as spiking_recovery.py and graded_recovery.py
set them up. The time that the project's own stages take, compilation aside, is what every other method gets:
Adam and CMA-ES of this project on all starts at once, CMA-ES on a tenth of them, and BluePyOpt's IBEA and
CMA-ES with a population as large as the number of starts, begun again with another seed where they end early.
``--times 10`` gives all of them ten times as long.
All of them call one simulator, odynn's, so that the optimisers alone differ.
"""

import copy
import itertools
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from measuring import FOLDER, available_cores, drawing, machine, options, progress, publish

from odynn import config, stages, storage
from odynn.fitting.schedules import default_stages

CONFIGS = FOLDER.parent / "config"
LEVEL = {"spiking cell": 0.05, "original's task": 0.1}
WORDS = {"spiking cell": "relative error", "original's task": "RMSE (mV)"}
# As graded_recovery.py: without noise there is always something to gain.
GRADED = [{"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 60, "tolerance": 0.0}]
SHARE = 10  # of CMA-ES of fewer starts, which gets further with each
# More than there is time for. Memory for the history of so many is taken at once.
ITERATIONS = 4000
TIMES = 25  # at which a course is evaluated


class TimeUp(Exception):  # noqa: N818 - no error
    """The time of a method is used up."""


@dataclass
class Watch:
    """Notes the points of all starts as a fit goes on, and ends it when its time is up.

    It stands where a fit keeps its state, and so sees every iteration of every stage.

    Attributes:
        seconds: that the fit may take.
        points: (seconds since the beginning, u [free, start]) after each iteration.
    """

    seconds: float = np.inf
    points: list[tuple[float, np.ndarray]] = field(default_factory=list)

    def __post_init__(self):
        self._began = time.perf_counter()

    def load(self) -> dict[str, np.ndarray]:
        """Return nothing: every fit is a new one."""
        return {}

    def save(self, arrays: Mapping[str, np.ndarray], now: bool = False) -> None:
        """Note where the starts of the running stage are."""
        for name in arrays:
            if name.endswith("result/u"):
                self.note(arrays[name])

    def note(self, u: np.ndarray) -> None:
        """Note points, and end the fit if it is time."""
        passed = time.perf_counter() - self._began
        if passed > self.seconds and self.points:
            raise TimeUp
        self.points.append((passed, u.copy()))


@dataclass(frozen=True)
class Task:
    """A problem with its starts, and how far a point is from the solution.

    Attributes:
        problem: the loss of the training sweeps.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        stages: the project's own.
        distance: function of points u to that of each, [start]; what is solved lies within ``LEVEL``.
    """

    problem: object
    u: np.ndarray
    base: np.ndarray
    stages: list[dict]
    distance: Callable[[np.ndarray], np.ndarray]

    def first(self, starts: int) -> "Task":
        """Return the task with the first starts only."""
        return replace(self, u=self.u[:, :starts], base=self.base[:, :starts])


def prepared(path: str, starts: int, changes: Mapping, own: list[dict] | None) -> Task:
    """Return the task that a config of the project describes, its starts drawn and its kernels compiled."""
    from odynn.fitting.evaluation import experiment_problem
    from odynn.simulation.device import set_up_device

    set_up_device()
    ((_, settings),) = config.load(CONFIGS / path).experiments.items()
    settings = copy.deepcopy(settings)
    settings["target"]["synthetic"] |= changes
    settings["starts"]["number"] = starts = min(starts, settings["starts"]["number"])
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.h5" for name in ("target", "starts")]
        stages.make_target(settings, files[0])
        stages.get_random(settings, f"{0:06d}-{starts - 1:06d}", files[1], files[0])
        target, drawn = storage.read_target(files[0]), storage.read_starts(files[1])
    problem = experiment_problem(settings, target.select(target.train), drawn, len(available_cores()))
    base = np.array(list(drawn.values.values()))
    u = problem.points(base)
    free = list(problem.transform.parameters)
    truth = np.array([target.truth[name] for name in free])[:, None]

    def error(points):
        return np.sqrt(np.mean(((problem.transform.forward(points) - truth) / truth) ** 2, axis=0))

    def misfit(points):
        return np.sqrt(problem.losses(points, base[:, : points.shape[1]]))

    progress(f"{path}: compiling")
    for compute in (problem.losses, problem.gradient, problem.normal_equations):
        compute(u, base)
    return Task(problem, u, base, own or default_stages(spiking=True), misfit if own else error)


def by_stages(task: Task, watch: Watch) -> None:
    """The project's own stages."""
    from odynn.fitting.staged import fit_stages

    fit_stages(task.problem, task.u, task.base, task.problem.losses(task.u, task.base), task.stages, watch)


def by_method(task: Task, watch: Watch, method: str) -> None:
    """One of the project's optimisers, without nudging."""
    from odynn.fitting.staged import METHODS

    METHODS[method](task.problem, task.u, task.base, iterations=ITERATIONS, keeper=watch)


def by_fewer(task: Task, watch: Watch) -> None:
    """CMA-ES of this project from a tenth of the starts."""
    by_method(task.first(-(-task.u.shape[1] // SHARE)), watch, "cma_es")


def by_bluepyopt(task: Task, watch: Watch, kind: str) -> None:
    """An optimiser of BluePyOpt, which gets the ranges of the starts, on the scale of each parameter."""
    from bluepyopt.deapext.optimisations import IBEADEAPOptimisation
    from bluepyopt.deapext.optimisationsCMA import DEAPOptimisationCMA
    from bluepyopt.evaluators import Evaluator
    from bluepyopt.objectives import Objective
    from bluepyopt.parameters import Parameter

    logging.getLogger("__main__").setLevel(logging.ERROR)
    rows = task.problem.transform.parameters
    log = np.array([row.scale == "log" for row in rows.values()])
    number = task.u.shape[1]
    # The starts of other methods stand at the best point of each; so here the best points of all count.
    best, lowest = np.empty((len(rows), 0)), np.empty(0)

    class Batch(Evaluator):
        """Stands for the evaluation of single points, which ``evaluated`` does together."""

        def init_simulator_and_evaluate_with_lists(self, values):
            return [values]

    def evaluated(_, individuals):
        if not individuals:
            return []
        points = np.array([list(one) for one in individuals]).T
        points[log] = np.exp(points[log])
        # Blocks are of one width; a few of a generation may be missing.
        places = np.minimum(np.arange(number), points.shape[1] - 1)
        u = task.problem.transform.inverse(points[:, places])
        losses = task.problem.losses(u, task.base)[: points.shape[1]]
        losses = np.where(np.isfinite(losses), losses, 1e12)
        nonlocal best, lowest
        best = np.concatenate([best, u[:, : points.shape[1]]], axis=1)
        lowest = np.concatenate([lowest, losses])
        kept = np.argsort(lowest, kind="stable")[:number]
        best, lowest = best[:, kept], lowest[kept]
        watch.note(best)
        return [[value] for value in losses]

    parameters = [
        Parameter(name, bounds=tuple(np.log(row.start)) if row.scale == "log" else row.start)
        for name, row in rows.items()
    ]
    for seed in itertools.count(1):
        evaluator = Batch([Objective("loss")], parameters)
        given = {"evaluator": evaluator, "offspring_size": number, "seed": seed, "map_function": evaluated}
        if kind == "CMA-ES":
            optimiser = DEAPOptimisationCMA(**given, selector_name="single_objective")
        else:
            optimiser = IBEADEAPOptimisation(**given)
        optimiser.run(max_ngen=ITERATIONS)


METHODS = {
    "odynn, its stages": by_stages,
    "odynn, Adam": partial(by_method, method="adam"),
    "odynn, CMA-ES": partial(by_method, method="cma_es"),
    "odynn, CMA-ES of a tenth": by_fewer,
    "BluePyOpt, IBEA": partial(by_bluepyopt, kind="IBEA"),
    "BluePyOpt, CMA-ES": partial(by_bluepyopt, kind="CMA-ES"),
}


def main() -> None:
    """Print one line a task and method."""
    given = options(__doc__, starts=100, times=1)
    tasks = {
        "spiking cell": ("experiments/spiking.yaml", given.starts, {}, None),
        "original's task": ("config.yaml", given.starts, {"noise": {}}, GRADED),
    }
    rows = []
    for name, arguments in tasks.items():
        task, seconds, courses = prepared(*arguments), np.inf, {}
        for method, run in METHODS.items():
            progress(f"{name}: {method}, {seconds:.0f} s")
            watch = Watch(seconds)
            try:
                run(task, watch)
            except TimeUp:
                pass
            if seconds == np.inf:
                seconds = given.times * watch.points[-1][0]
            courses[method] = _course(task, watch)
            rows.append([name, method, *_row(courses[method], watch, LEVEL[name])])
        figure = f"time_to_solution_{arguments[0].rpartition('/')[2].removesuffix('.yaml')}"
        with drawing(given.output, figure, "seconds", "share solved (%)") as axes:
            axes.set_title(name)
            for method, (times, distances) in courses.items():
                shares = [100 * np.mean(one < LEVEL[name]) for one in distances]
                axes.step(times, shares, where="post", label=method)
    wanted = ", ".join(f"{name}: {WORDS[name]} below {level}" for name, level in LEVEL.items())
    times = "the" if given.times == 1 else f"{given.times} times the"
    publish(
        given.output,
        "time_to_solution",
        f"Solved at {times} wall time of the project's stages, compilation aside: {wanted}",
        ("task", "method", "points", "iterations", "solved", "first after (s)", "least", "median", "seconds"),
        rows,
        note="points: starts, each at its best; of BluePyOpt as many as its population, the best of all. "
        + machine(),
    )


def _course(task: Task, watch: Watch) -> tuple[list[float], list[np.ndarray]]:
    """Return the distances [start] of the points at some of the times, the last one among them."""
    last = len(watch.points) - 1
    # The beginning is told by more of them: that is where most is solved.
    places = np.unique(np.round(last * np.linspace(0, 1, TIMES) ** 2).astype(int))
    times, points = zip(*(watch.points[place] for place in places), strict=True)
    return list(times), [task.distance(u) for u in points]


def _row(course: tuple[list[float], list[np.ndarray]], watch: Watch, level: float) -> list:
    times, distances = course
    last = np.where(np.isfinite(distances[-1]), distances[-1], np.inf)
    solved = [moment for moment, one in zip(times, distances, strict=True) if (one < level).any()]
    return [
        str(len(last)),
        str(len(watch.points)),
        f"{np.sum(last < level)}",
        min(solved, default=None),
        float(last.min()),
        float(np.median(last)),
        watch.points[-1][0],
    ]


if __name__ == "__main__":
    main()
