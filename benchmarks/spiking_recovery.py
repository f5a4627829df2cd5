"""Are the conductances of a spiking cell found from random starts? Beck et al., arXiv 2402.12231.

Success of a start: root mean squared relative error of the three conductances below 5 %. Published
there: least squares with L-BFGS 3 of 100, Fenrir 51, diffusion tempering 99 after 676 iterations.
"""

import sys

import numpy as np
from protocol import runs, show


def main(seeds: list[int]) -> None:
    """Print one line a seed."""
    rows = []
    for run in runs("experiments/spiking.yaml", seeds):
        truth, free = run.target.truth, [name for name, row in run.fit.parameters.items() if row.free]
        errors = np.array([(run.fit.values[name] - truth[name]) / truth[name] for name in free])
        error = np.sqrt(np.mean(errors**2, axis=0))
        rows.append(
            [
                str(run.seed),
                f"{np.sum(error < 0.05)} of {len(error)}",
                f"{np.max(error):.2g}",
                f"{np.mean(run.fit.iterations):.0f}",
                f"{run.seconds:.1f}",
            ]
        )
    show(
        "Spiking cell, 3 conductances, 100 random starts",
        ["noise seed", "recovered", "largest error", "mean iterations", "seconds"],
        rows,
        ["100 of 100", "0.05", "", ""],
    )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [0, 1, 2, 3, 4])
