"""Do models fitted to some sweeps of spiking cells spike in others as the recordings do?

Each line is the start with the lowest training loss, run freely on the held-out sweeps. Arguments are
names of configs in config/experiments, and seeds. The column of neighbours is what interpolation between the
recorded sweeps beside a held-out one reaches.
"""

import sys

import numpy as np
from protocol import Outcome, runs, show

from odynn.analysis.best import best_runs
from odynn.data import Target
from odynn.spikes import gamma, spike_times
from odynn.spikes.features import FEATURES

CELLS = ["171116sh", "18711001", "lantyer"]


HEADINGS = (
    "seed",
    "spikes simulated",
    "spikes recorded",
    "within ±1",
    "mean Γ",
    "Γ of neighbours",
    "RMSE between spikes (mV)",
    "features (SD)",
    "seconds",
)
REACH = ("", "", "", "80%", "0.50", "", "", "", "")


def main(cells: list[str], seeds: list[int]) -> None:
    """Print one line a cell and seed, then the errors of each feature."""
    rows, features = [], []
    for cell in cells:
        for run in runs(f"experiments/{cell}.yaml", seeds):
            row, errors = score(run)
            rows.append([cell, str(run.seed), *row])
            features.append([cell, str(run.seed), *errors])
    title = "Spiking cells, held-out sweeps, the start with the lowest training loss"
    show(title, ["cell", *HEADINGS], rows, REACH)
    show(
        "Mean errors of features, in standard deviations over sweeps, where both have them",
        ["cell", "seed", *(name.replace("_", " ") for name in FEATURES)],
        features,
        [""] * (len(FEATURES) + 1),
    )


def score(run: Outcome) -> tuple[list[str], list[str]]:
    """Return what a run's best start makes of the held-out sweeps, and its errors of each feature."""
    best = best_runs({**run.settings, "best": {"number": 1}}, run.target, run.fit)
    scores = {name: values[~best.train, 0] for name, values in best.scores.items()}
    simulated, recorded = scores["spike_count"], scores["spike_count_observed"]
    row = [
        _counts(simulated),
        _counts(recorded),
        f"{np.mean(np.abs(simulated - recorded) <= 1):.0%}",
        _mean(scores["gamma"], 2),
        _mean(neighbours(run.target), 2),
        _mean(scores["rmse_subthreshold"], 2),
        _mean(scores.get("error_features"), 1),
        f"{run.seconds:.1f}",
    ]
    return row, [_mean(scores.get(f"error_{name}"), 2) for name in FEATURES]


def neighbours(target: Target) -> np.ndarray:
    """Return Γ of each held-out sweep and what the recorded sweeps on its two sides say of it.

    The first spike is expected between their first ones, and so on, as many as both have. It tells how
    far spike times of this cell can be foretold at all, a spike of noise here and there.
    """
    trains = spike_times(target.observed["V"], target.time)
    expected = (trains[:, :-2] + trains[:, 2:]) / 2  # NaN where one of them has no such spike
    found = gamma(trains[:, 1:-1], expected, len(target.time) * target.dt)
    return found[~target.train[1:-1]]


def _counts(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.0f}" for number in numbers)


def _mean(values: np.ndarray | None, decimals: int) -> str:
    """Return the mean over the sweeps where a score is defined; a dash where it is nowhere."""
    values = np.empty(0) if values is None else values[np.isfinite(values)]
    return f"{values.mean():.{decimals}f}" if values.size else "–"


if __name__ == "__main__":
    cells = [word for word in sys.argv[1:] if word in CELLS]
    main(cells or CELLS, [int(word) for word in sys.argv[1:] if word not in CELLS] or [1, 2])
