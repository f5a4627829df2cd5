"""Six parameters of a spiking cell from one sweep: are they found, and do the data determine them?

The harder task of Beck et al., arXiv 2402.12231: none of the published methods found the parameters
from any of 100 starts. A start has found the trace if its loss is within a tenth of the noise's
variance, the parameters if the root mean square of their relative errors is below 5 %. What errors the
noise leaves is told by the Fisher matrix at the truth: JᵀJ divided by the variance of the noise.
"""

import sys

import numpy as np
from protocol import CONFIGS, Outcome, runs, show

from odynn import config
from odynn.data import Starts
from odynn.fitting.evaluation import experiment_problem

PATH = "experiments/spiking_six.yaml"


def main(seeds: list[int]) -> None:
    """Print one line a seed, then one line a parameter of the last seed."""
    rows = []
    for run in runs(PATH, seeds):
        variance = run.target.noise["V"] ** 2
        names, errors = _errors(run)
        error = np.sqrt(np.mean(errors**2, axis=0))
        rows.append(
            [
                str(run.seed),
                f"{np.sum(run.fit.loss < 1.1 * variance)} of {len(error)}",
                f"{np.sum(error < 0.05)} of {len(error)}",
                f"{error[0]:.2g}",
                f"{np.mean(run.fit.iterations):.0f}",
                f"{run.seconds:.1f}",
            ]
        )
    show(
        "Spiking cell, 6 parameters, 100 random starts",
        ["noise seed", "trace", "parameters", "error of the best", "mean iterations", "seconds"],
        rows,
        ["", "1 of 100", "0.05", "", ""],
    )
    predicted, condition = _predicted(run)
    show(
        f"Relative errors, noise seed {run.seed}; condition number of the Fisher matrix {condition:.2g}",
        ["parameter", "standard error predicted", "error of the best", "spread over starts"],
        [
            [name, f"{one:.2%}", f"{line[0]:+.2%}", f"{np.std(line):.2%}"]
            for name, one, line in zip(names, predicted, errors, strict=True)
        ],
        ["5%", "5%", ""],
    )


def _errors(run: Outcome) -> tuple[list[str], np.ndarray]:
    """Return the free parameters and their relative errors, [free, start]."""
    names = [name for name, row in run.fit.parameters.items() if row.free]
    truth = run.target.truth
    return names, np.array([(run.fit.values[name] - truth[name]) / truth[name] for name in names])


def _predicted(run: Outcome) -> tuple[np.ndarray, float]:
    """Return the relative standard errors at the truth, and the condition number for relative changes."""
    ((_, settings),) = config.load(CONFIGS / PATH).experiments.items()
    table, truth = run.fit.parameters, run.target.truth
    start = Starts(np.zeros(1, dtype=int), {name: np.array([truth[name]]) for name in table}, table)
    problem = experiment_problem(
        {**settings, "precision": "float64"}, run.target.select(run.target.train), start
    )
    base = np.array(list(start.values.values()))
    u = problem.points(base)
    H, _, _ = problem.normal_equations(u, base)
    values = np.array([truth[name] for name in problem.transform.parameters])
    relative = problem.transform.slope(u)[:, 0] / values
    samples = run.target.stimulus[:, run.target.train].size
    fisher = H[..., 0] * samples / run.target.noise["V"] ** 2 / np.outer(relative, relative)
    return np.sqrt(np.diag(np.linalg.inv(fisher))), np.linalg.cond(fisher)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [0, 1, 2])
