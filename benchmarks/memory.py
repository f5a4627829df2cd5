"""How much memory do a gradient and the normal equations take, against the length of the trace?

Each length runs in a process of its own, whose largest resident memory the system tells: TensorFlow and its
compiler, the recording (which grows with its length), and what the derivative keeps. The squid axon.
"""

import resource
import sys
from functools import partial

import numpy as np
from contenders import REST, odynn_problem
from measuring import Contender, Worker, drawing, machine, options, progress, publish, workers

from odynn.data import Target

MODEL, SOLVER, DT = "hodgkinhuxley", "exponential_euler", 0.025
KINDS = ("losses", "gradient", "normal_equations")
LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
# What odynn/simulation/device.py lets one computation keep on a processor, in MiB.
BUDGET = 256


def prepared(cores: int, kind: str, length: int, sets: int) -> Contender:
    """Make one derivative of the loss on a trace of a length; its task returns the peak memory so far."""
    time = np.arange(1, length + 1) * DT
    pulses = np.where(time % 50.0 < 25.0, 10.0, 0.0)[:, None]
    # Whatever was observed: memory does not depend on it.
    observed = {"V": np.full_like(pulses, REST)}
    target = Target(time, pulses, observed, {"V": "mV"}, np.zeros(1, int), np.ones(1, bool))
    problem, u, base = odynn_problem(MODEL, target, SOLVER, sets, cores)

    def run() -> float:
        getattr(problem, kind)(u, base)
        # In kB; macOS counts bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            2**20 if sys.platform == "darwin" else 2**10
        )

    return Contender({"run": run}, float(sets * length))


def main() -> None:
    """Print one line a length."""
    given = options(__doc__, sets=256, longest=LENGTHS[-1])
    lengths = [length for length in LENGTHS if length <= given.longest]
    peaks, seconds = {}, {}
    for length in lengths:
        progress(f"{length} steps")
        made = {
            kind: partial(Worker, prepared, 0, kind=kind, length=length, sets=given.sets) for kind in KINDS
        }
        with workers(made) as found:
            for kind, worker in found.items():
                _, peaks[kind, length] = worker.run("run", wanted=True)
                seconds[kind, length] = worker.run("run")[0]
    rows = []
    for length in lengths:
        beyond = [peaks[kind, length] - peaks["losses", length] for kind in KINDS[1:]]
        rows.append(
            [
                str(length),
                *(peaks[kind, length] for kind in KINDS),
                *beyond,
                *(seconds[kind, length] for kind in KINDS),
            ]
        )
    publish(
        given.output,
        "memory",
        f"Peak memory of a process, MiB, {given.sets} starts",
        (
            "steps",
            "loss",
            "gradient",
            "normal equations",
            "gradient beyond loss",
            "normal equations beyond loss",
            "loss (s)",
            "gradient (s)",
            "normal equations (s)",
        ),
        rows,
        ("", "", "", f"{BUDGET} at most", "no growth", "", "", ""),
        machine(),
    )
    with drawing(given.output, "memory", "time steps", "peak memory of the process (MiB)", "x") as axes:
        for place, kind in enumerate(KINDS):
            axes.plot(lengths, [row[1 + place] for row in rows], "o-", label=kind.replace("_", " "))
        axes.set_ylim(0)


if __name__ == "__main__":
    main()
