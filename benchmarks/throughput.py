"""How many steps of a neuron a second: odynn, Jaxley, NEURON, a numpy loop, and loops in C.

The squid axon (1000 parameter sets, 100 ms at 0.025 ms) and the C. elegans neuron (2 sweeps of 1200 ms
at 1 ms), all in float32 but NEURON. All are checked to give the same voltages: those with the same scheme
(V by exponential Euler, then the gates) step by step, the others by the difference, which has to fall with
the step. Compilation is timed apart.
"""

import sys
from functools import partial

import numpy as np
from contenders import DT, by_c, by_jaxley, by_neuron, by_numpy, by_odynn
from measuring import (
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

SQUID, CELEGANS = "hodgkinhuxley", "celegans"
TASKS = ("traces", "loss", "gradient")
HEADINGS = ("contender", "cores", *TASKS, "compiling (s)")
# Root mean square over all times and sets, mV: rounding in float32 moves spikes a little.
SAME = 0.1
FALLS = 2.5  # at least by so much, when the step falls to a quarter
FEW = 16  # sets that are compared at the smaller step
# NEURON takes its sets one after the other: a twentieth of them tells the rate.
SHARE = 20


def main() -> None:
    """Check voltages, time everything, and print both tables."""
    given = options(__doc__, sets=1000, repetitions=7)
    checked = squid(given)
    celegans(given)
    if not checked:
        sys.exit("Voltages differ: what is compared above is not the same computation.")


def squid(given) -> bool:
    """Compare all on the squid axon; return whether their voltages agree."""
    sets, cores = given.sets, sorted({1, len(available_cores())})
    exponential = {"model": SQUID, "solver": "exponential_euler", "sets": sets}
    implicit = {"model": SQUID, "solver": "implicit_euler", "sets": sets}
    made = {}
    for number_ in cores:
        made |= {
            ("odynn", number_): partial(Worker, by_odynn, number_, **exponential),
            ("odynn, implicit Euler", number_): partial(Worker, by_odynn, number_, **implicit),
            ("Jaxley, exponential Euler", number_): partial(
                Worker, by_jaxley, number_, solver="exp_euler", sets=sets
            ),
            ("Jaxley, its default", number_): partial(
                Worker, by_jaxley, number_, solver="bwd_euler", sets=sets
            ),
            ("C", number_): partial(Worker, by_c, number_, model=SQUID, sets=sets),
        }
    made["numpy loop", 1] = partial(Worker, by_numpy, 1, sets=sets)
    made["NEURON, one by one", 1] = partial(Worker, by_neuron, 1, sets=max(1, sets // SHARE))
    with workers(made) as found:
        rates, compiling, traces, gradients = _timed(found, given.repetitions)
    agree = _agreement(traces, gradients, given)
    ours = [("odynn", one) for one in cores]
    rivals = [key for key in rates if key[0].startswith("Jaxley")]
    _table(given, "throughput_squid", "Squid axon", found, rates, compiling)
    ratios = []
    for key in ours:
        best = {
            task: max(rates[rival].get(task, np.nan) for rival in rivals if rival[1] == key[1])
            for task in ("traces", "loss", "gradient")
        }
        mine = rates[key]
        ratios.append(
            [
                f"{key[1]}",
                *(mine[task] / best[task] for task in best),
                mine["loss"] / rates["C", key[1]]["loss"],
                mine["loss"] / rates["numpy loop", 1]["loss"],
                mine["traces"] / rates["NEURON, one by one", 1]["traces"],
                mine["loss"] / mine["gradient"],
            ]
        )
    publish(
        given.output,
        "throughput_ratios",
        "odynn against others, and its gradient in units of its forward pass (to the loss)",
        (
            "cores",
            "traces / Jaxley",
            "loss / Jaxley",
            "gradient / Jaxley",
            "loss / C",
            "loss / numpy",
            "traces / NEURON",
            "gradient in forward passes",
        ),
        ratios,
        ("1.5", "1.5", "6", "0.6", "", "", "4 at most"),
        "Jaxley: the faster of its two solvers, at equal cores. numpy and NEURON: 1 core.",
    )
    return agree


def celegans(given) -> None:
    """Compare odynn with C on the C. elegans neuron."""
    cores = sorted({1, len(available_cores())})
    arguments = {"model": CELEGANS, "sets": given.sets}
    made = {}
    for one in cores:
        made["odynn", one] = partial(Worker, by_odynn, one, solver="implicit_euler", **arguments)
        made["C", one] = partial(Worker, by_c, one, **arguments)
    with workers(made) as found:
        rates, compiling, traces, _ = _timed(found, given.repetitions)
    difference = _rms(traces["odynn", 1] - traces["C", 1])
    _table(given, "throughput_celegans", "C. elegans neuron, 2 sweeps", found, rates, compiling)
    shares = [f"{rates['odynn', one]['loss'] / rates['C', one]['loss']:.2f}" for one in cores]
    gradients = [f"{rates['odynn', one]['loss'] / rates['odynn', one]['gradient']:.1f}" for one in cores]
    print(
        f"On {' and '.join(map(str, cores))} cores: loss, odynn / C, {' and '.join(shares)} (to reach: 0.6); "
        f"gradient in forward passes {' and '.join(gradients)} (4 at most). Voltages of odynn and C differ "
        f"by {difference:.2g} mV RMS."
    )


def _timed(found, repetitions):
    """Return rates {worker: {task: 1e6 steps/s}}, seconds to compile, first traces and gradients."""
    first, traces, gradients = {}, {}, {}
    for key, worker in found.items():
        for task in worker.tasks:
            progress(f"{_words(key)}: {task}, first run")
            first[key, task], result = worker.run(task, wanted=task in ("traces", "gradient"))
            if task == "traces":
                traces[key] = result
            elif task == "gradient":
                gradients[key] = result
    runs = {
        (key, task): lambda worker=worker, task=task: worker.run(task)[0]
        for key, worker in found.items()
        for task in worker.tasks
    }
    seconds = interleaved(runs, repetitions)
    rates, compiling = {key: {} for key in found}, {}
    for (key, task), one in seconds.items():
        rates[key][task] = found[key].work / np.median(one) / 1e6
        compiling[key] = compiling.get(key, 0.0) + first[key, task] - float(np.median(one))
    return rates, compiling, traces, gradients


def _table(given, name, title, found, rates, compiling) -> None:
    rows = [
        [
            key[0],
            str(key[1]),
            *(rates[key].get(task) for task in TASKS),
            round(compiling[key], 1) if key[0].startswith(("odynn", "Jaxley")) else None,
        ]
        for key in found
    ]
    publish(
        given.output,
        name,
        f"{title}, {given.sets} parameter sets: million neuron-steps/s (medians of {given.repetitions})",
        HEADINGS,
        rows,
        note=machine(),
    )
    with drawing(given.output, name, "million neuron-steps/s", "", "x") as axes:
        for shift, task in enumerate(TASKS):
            with_task = [place for place, key in enumerate(rates) if task in rates[key]]
            values = [list(rates.values())[place][task] for place in with_task]
            axes.barh([place + 0.2 * shift - 0.2 for place in with_task], values, 0.2, label=task)
        axes.set_yticks(range(len(rates)), [_words(key) for key in rates])
        axes.invert_yaxis()


def _agreement(traces, gradients, given) -> bool:
    """Compare voltages and gradients; print how far they differ, and return whether that is little."""
    few = min(FEW, given.sets)
    others = {
        "odynn, implicit Euler": partial(by_odynn, model=SQUID, solver="implicit_euler", precision="float64"),
        "Jaxley, its default": partial(by_jaxley, solver="bwd_euler"),
        "NEURON, one by one": by_neuron,
    }
    exact = partial(by_odynn, model=SQUID, solver="exponential_euler", precision="float64")
    made = {
        "all": partial(Worker, exact, 0, sets=given.sets),
        "few, dt / 4": partial(Worker, exact, 0, sets=few, dt=DT / 4),
        **{name: partial(Worker, factory, 0, sets=few, dt=DT / 4) for name, factory in others.items()},
    }
    with workers(made) as found:
        finer = {name: worker.run("traces", wanted=True)[1] for name, worker in found.items()}
        reference, slope = finer["all"], found["all"].run("gradient", wanted=True)[1]
    rows, agree = [], True
    for (name, cores), V in traces.items():
        if cores != 1:
            continue
        if name in others:
            compared = min(few, V.shape[2])
            coarse = _rms(V[..., :compared] - reference[..., :compared])
            fine = _rms(finer[name] - finer["few, dt / 4"])
            good, told = coarse > FALLS * fine, f"{fine:.2g}"
        else:
            coarse = _rms(V - reference[..., : V.shape[2]])
            good, told = coarse < SAME, None
        agree &= good
        apart = None
        if (name, cores) in gradients and name not in others:
            with np.errstate(invalid="ignore"):
                distance = np.linalg.norm(gradients[name, cores] - slope, axis=0)
                apart = float(np.nanmedian(distance / np.linalg.norm(slope, axis=0)))
        rows.append([name, coarse, told, "yes" if good else "NO", apart])
    publish(
        given.output,
        "throughput_agreement",
        "Difference of the voltages from odynn in float64 by exponential Euler, mV (RMS over all)",
        ("contender", "at 0.025 ms", "at a quarter", "agrees", "gradient, relative"),
        rows,
        note=f"Same scheme: below {SAME} mV. Other schemes: falls by {FALLS} at least; of first order, by 4. "
        "Gradients: median over the sets.",
    )
    return agree


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(difference, dtype=float))))


def _words(key: tuple[str, int]) -> str:
    return f"{key[0]}, {key[1]} core{'s' if key[1] > 1 else ''}"


if __name__ == "__main__":
    main()
