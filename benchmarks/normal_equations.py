"""What derivatives cost, in units of a forward pass, against the number of free parameters.

For the C. elegans neuron (28 parameters, 2 sweeps of 1200 ms) and the squid axon (7, one sweep of 4000
steps): the normal equations by forward sensitivities, the gradient by the adjoint, and one whole iteration of
Levenberg–Marquardt, trial steps and linear algebra included, all through odynn.fitting.problem.Problem on all
cores. A forward pass is that to the loss, with the same blocks.
"""

from functools import partial

import numpy as np
from contenders import make_target, odynn_problem
from measuring import (
    Contender,
    Worker,
    drawing,
    interleaved,
    machine,
    options,
    progress,
    publish,
    timed,
    workers,
)

MODELS = {
    "celegans": ("C. elegans neuron", "implicit_euler", (1, 3, 8, 16, 28)),
    "hodgkinhuxley": ("squid axon", "exponential_euler", (1, 3, 7)),
}
TASKS = ("gradient", "normal equations", "iteration")


def prepared(cores: int, model: str, sets: int) -> Contender:
    """Make the derivatives of one model by 1 … all of its parameters."""
    _, solver, numbers = MODELS[model]
    target = make_target(model, solver)
    tasks = {}
    for free in numbers:
        tasks |= {f"{free} {task}": run for task, run in _tasks(model, solver, target, sets, cores, free)}
    return Contender(tasks, float(sets * target.stimulus.size))


def _tasks(model, solver, target, sets, cores, free):
    from odynn.fitting.levenberg_marquardt import minimise
    from odynn.models import load_model

    names = [name for name, row in load_model(model).table().items() if row.free]
    # Spread over the table, whose neighbours are much alike.
    chosen = [names[place] for place in np.linspace(0, len(names) - 1, free).round().astype(int)]
    problem, u, base = odynn_problem(model, target, solver, sets, cores, chosen)

    def iteration() -> float:
        # Of two runs the difference: what comes before the first iteration is in both.
        first, third = (
            timed(lambda number=number: minimise(problem, u, base, iterations=number, tolerance=0.0))
            for number in (1, 3)
        )
        return (third - first) / 2

    yield "forward", lambda: timed(problem.losses, u, base)
    yield "gradient", lambda: timed(problem.gradient, u, base)
    yield "normal equations", lambda: timed(problem.normal_equations, u, base)
    yield "iteration", iteration


def main() -> None:
    """Print one line a model and number of free parameters."""
    given = options(__doc__, sets=256, repetitions=5)
    rows = []
    made = {model: partial(Worker, prepared, 0, model=model, sets=given.sets) for model in MODELS}
    with workers(made) as found:
        runs, compiling = {}, {}
        for model, worker in found.items():
            for task in worker.tasks:
                progress(f"{model}, {task}: first run")
                compiling[model, task] = worker.run(task)[0]
                runs[model, task] = lambda worker=worker, task=task: worker.run(task, wanted=True)[1]
        seconds = {key: float(np.median(one)) for key, one in interleaved(runs, given.repetitions).items()}
        work = {model: worker.work for model, worker in found.items()}
    for model, (title, _, numbers) in MODELS.items():
        for free in numbers:
            forward = seconds[model, f"{free} forward"]
            costs = [seconds[model, f"{free} {task}"] / forward for task in TASKS]
            compiled = [compiling[model, f"{free} {task}"] for task in TASKS[:2]]
            rows.append([title, str(free), work[model] / forward / 1e6, *costs, costs[1] / free, *compiled])
    publish(
        given.output,
        "normal_equations",
        f"Cost of derivatives in forward passes, {given.sets} starts (medians of {given.repetitions})",
        (
            "model",
            "free",
            "forward (million steps/s)",
            *TASKS,
            "normal equations / free",
            "gradient: first run (s)",
            "normal equations: first run (s)",
        ),
        rows,
        ("", "", "4 at most", "", "", "1 at most", "", ""),
        "iteration: one of Levenberg–Marquardt, with its 8 trial steps a start. " + machine(),
    )
    with drawing(given.output, "normal_equations", "free parameters", "forward passes", "xy") as axes:
        for title, _, _ in MODELS.values():
            own = [row for row in rows if row[0] == title]
            for place, task in enumerate(TASKS):
                axes.plot(
                    [int(row[1]) for row in own],
                    [row[3 + place] for row in own],
                    "o-",
                    label=f"{title}, {task}",
                )
        axes.plot([1, 28], [1, 28], "k:", label="one forward pass a parameter")


if __name__ == "__main__":
    main()
