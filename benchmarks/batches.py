"""How does the cost of a start change with the number of starts, sweeps, states and cores?

Loss, gradient and normal equations through odynn.fitting.problem.Problem; first on one core, then on all.
Starts: the squid axon, 1000 steps. Sweeps: the C. elegans neuron, 64 starts. States: models of 1 to 7.
"""

from functools import partial

import numpy as np
from contenders import make_target, odynn_problem
from measuring import (
    Contender,
    Worker,
    available_cores,
    drawing,
    interleaved,
    machine,
    options,
    progress,
    publish,
    workers,
)

TASKS = ("losses", "gradient", "normal_equations")
STEPS, DT = 1000, 0.025
STARTS = (10, 100, 1_000, 10_000)
SWEEPS = (1, 2, 4, 8, 16)
MODELS = ("leaky", "hodghuxsimple", "hodgkinhuxley", "pospischil", "celegans")
# Free parameters of every model in the table of states: the three that all of them have, by any name.
FREE = ("C_m", "g_L", "E_L")


def by_starts(cores: int, longest: int) -> Contender:
    """Make one task a number of starts."""
    pieces = [[{"step": 10.0, "from": 2, "to": 20}]]
    target = make_target("hodgkinhuxley", "exponential_euler", pieces, STEPS * DT, DT)
    cases = {
        str(starts): (
            *odynn_problem("hodgkinhuxley", target, "exponential_euler", starts, cores),
            STEPS * starts,
        )
        for starts in STARTS
        if starts <= longest
    }
    return _contender(cases)


def by_sweeps(cores: int, longest: int) -> Contender:
    """Make one task a number of sweeps."""
    cases, starts = {}, min(64, longest)
    for sweeps in SWEEPS:
        pieces = [[{"step": 2.0 * sweep, "from": 100, "to": 800}] for sweep in range(sweeps)]
        target = make_target("celegans", "implicit_euler", pieces, float(STEPS), 1.0)
        made = odynn_problem("celegans", target, "implicit_euler", starts, cores)
        cases[str(sweeps)] = (*made, STEPS * starts * sweeps)
    return _contender(cases)


def by_states(cores: int, longest: int) -> Contender:
    """Make one task a model, with three free parameters each."""
    cases, starts = {}, min(1000, longest)
    for model in MODELS:
        pieces = [[{"step": 5.0, "from": 2, "to": 20}]]
        target = make_target(model, "implicit_euler", pieces, STEPS * DT, DT)
        made = odynn_problem(model, target, "implicit_euler", starts, cores, FREE)
        cases[model] = (*made, STEPS * starts)
    return _contender(cases)


def _contender(cases) -> Contender:
    tasks = {
        f"{name} {task}": partial(getattr(problem, task), u, base)
        for name, (problem, u, base, _) in cases.items()
        for task in TASKS
    }
    return Contender(tasks, {name: float(work) for name, (*_, work) in cases.items()})


QUESTIONS = {"starts": by_starts, "sweeps": by_sweeps, "states": by_states}


def main() -> None:
    """Print a table a question, one line a case."""
    given = options(__doc__, longest=STARTS[-1], repetitions=5)
    cores = sorted({1, len(available_cores())})
    for question, factory in QUESTIONS.items():
        made = {one: partial(Worker, factory, one, longest=given.longest) for one in cores}
        with workers(made) as found:
            progress(f"{question}: first runs")
            for worker in found.values():
                for task in worker.tasks:
                    worker.run(task)
            runs = {
                (one, task): lambda worker=worker, task=task: worker.run(task)[0]
                for one, worker in found.items()
                for task in worker.tasks
            }
            seconds = {
                key: float(np.median(all_)) for key, all_ in interleaved(runs, given.repetitions).items()
            }
            work = found[cores[0]].work
        _table(given, question, cores, seconds, work)


def _table(given, question, cores, seconds, work) -> None:
    rows = []
    for case in work:
        rates = [[work[case] / seconds[one, f"{case} {task}"] / 1e6 for one in cores] for task in TASKS]
        starts = int(case) if question == "starts" else None
        each = seconds[cores[-1], f"{case} losses"] / starts * 1e6 if starts else None
        rows.append([case, *(rate for pair in rates for rate in pair), each])
    rates = [f"{task.replace('_', ' ')}, {one} core{'s' * (one > 1)}" for task in TASKS for one in cores]
    publish(
        given.output,
        f"batches_{question}",
        f"Million neuron-steps/s by {question} (medians of {given.repetitions})",
        (question, *rates, "µs a start and loss"),
        rows,
        note=machine(),
    )
    with drawing(
        given.output,
        f"batches_{question}",
        question,
        "million neuron-steps/s",
        "y" if question == "states" else "xy",
    ) as axes:
        x = [row[0] if question == "states" else int(row[0]) for row in rows]
        for place, label in enumerate(rates):
            axes.plot(x, [row[1 + place] for row in rows], "o-", label=label)


if __name__ == "__main__":
    main()
