"""How well does the best fit of the AIY recording predict sweeps that it never saw, and how soon?"""

import sys

import numpy as np
from protocol import runs, show


def main(seeds: list[int]) -> None:
    """Print one line a seed."""
    rows = []
    for run in runs("experiments/aiy.yaml", seeds):
        held_out = run.target.select(~run.target.train).observed["V"]
        rmse = run.fit.rmse_test["V"]
        rows.append(
            [
                str(run.seed),
                f"{run.fit.rmse_train['V'][0]:.2f}",
                f"{rmse[0]:.2f}",
                f"{1 - rmse[0] ** 2 / np.var(held_out):.4f}",
                f"{run.seconds:.1f}",
            ]
        )
    show(
        "AIY recording, the start with the lowest training loss",
        ["seed", "training RMSE (mV)", "held-out RMSE (mV)", "held-out R²", "seconds"],
        rows,
        ["", "2.3", "0.99", "60"],
    )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1, 2, 3])
