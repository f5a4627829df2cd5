"""Do better starts make better fits? Random starts, designs, and conductances by regression.

Each kind of start is fitted for a few iterations only: with many, all of them end alike.
"""

import sys
from collections.abc import Sequence

import numpy as np
from protocol import runs, show

NUMBER = 32
KINDS = {
    "random": {"design": "random"},
    "Latin hypercube": {"design": "latin_hypercube"},
    "Sobol": {"design": "sobol"},
    "random, regression": {"design": "random", "regression": True},
    "Sobol, regression": {"design": "sobol", "regression": True},
}
# Of graded neurons: before a fit no start puts spikes at the right times, and its loss says little.
CONFIGS = ("config.yaml", "experiments/aiy.yaml")


def main(names: Sequence[str]) -> None:
    """Print a table for each configuration, one line a kind of start."""
    for name in names:
        stage = {"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 5, "tolerance": 0.0}
        rows = []
        for kind, starts in KINDS.items():
            changes = {"starts": {"number": NUMBER, **starts}, "fit": {"stages": [stage]}}
            (run,) = runs(name, [1], **changes)
            rows.append([kind, *(_quartiles(loss) for loss in (run.fit.start_loss, run.fit.loss))])
        show(
            f"{name}, {NUMBER} starts: root of the loss, best / quartile / median / quartile",
            ["starts", "before the fit", "after 5 iterations"],
            rows,
            [],
        )


def _quartiles(loss: np.ndarray) -> str:
    loss = np.sqrt(np.where(np.isfinite(loss), loss, np.inf))
    return " / ".join(f"{value:.2f}" for value in np.quantile(loss, [0, 0.25, 0.5, 0.75], method="nearest"))


if __name__ == "__main__":
    main(sys.argv[1:] or CONFIGS)
