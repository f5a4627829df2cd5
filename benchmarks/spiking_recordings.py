"""Do models fitted to some sweeps of spiking cells spike in others as the recordings do?

Each line is the start with the lowest training loss, run freely on the held-out sweeps. Arguments are
names of configs in config/experiments, and seeds.
"""

import sys

import numpy as np
from protocol import runs, show

from odynn.analysis.best import best_runs
from odynn.spikes.features import FEATURES

CELLS = ["171116sh", "18711001", "lantyer"]


def main(cells: list[str], seeds: list[int]) -> None:
    """Print one line a cell and seed, then the errors of each feature."""
    rows, features = [], []
    for cell in cells:
        for run in runs(f"experiments/{cell}.yaml", seeds):
            best = best_runs({**run.settings, "best": {"number": 1}}, run.target, run.fit)
            scores = {name: values[~best.train, 0] for name, values in best.scores.items()}
            simulated, recorded = scores["spike_count"], scores["spike_count_observed"]
            rows.append(
                [
                    cell,
                    str(run.seed),
                    _counts(simulated),
                    _counts(recorded),
                    f"{np.mean(np.abs(simulated - recorded) <= 1):.0%}",
                    _mean(scores["gamma"], 2),
                    _mean(scores["rmse_subthreshold"], 2),
                    _mean(scores.get("error_features"), 1),
                    f"{run.seconds:.1f}",
                ]
            )
            errors = [_mean(scores.get(f"error_{name}"), 2) for name in FEATURES]
            features.append([cell, str(run.seed), *errors])
    show(
        "Spiking cells, held-out sweeps, the start with the lowest training loss",
        [
            "cell",
            "seed",
            "spikes simulated",
            "spikes recorded",
            "within ±1",
            "mean Γ",
            "RMSE between spikes (mV)",
            "features (SD)",
            "seconds",
        ],
        rows,
        ["", "", "", "80%", "0.50", "", "", ""],
    )
    show(
        "Mean errors of features, in standard deviations over sweeps, where both have them",
        ["cell", "seed", *(name.replace("_", " ") for name in FEATURES)],
        features,
        [""] * (len(FEATURES) + 1),
    )


def _counts(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.0f}" for number in numbers)


def _mean(values: np.ndarray | None, decimals: int) -> str:
    """Return the mean over the sweeps where a score is defined; a dash where it is nowhere."""
    values = np.empty(0) if values is None else values[np.isfinite(values)]
    return f"{values.mean():.{decimals}f}" if values.size else "–"


if __name__ == "__main__":
    seeds = [int(word) for word in sys.argv[1:] if word.isdigit()]
    main([word for word in sys.argv[1:] if not word.isdigit()] or CELLS, seeds or [1, 2, 3])
