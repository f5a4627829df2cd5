"""What it takes to merge the fits of many shards into one file.

The shards are made up: files as the stage ``fit`` writes them for the 28 parameters of the model
``celegans``, with 100 starts and up to 60 iterations each, but every number in them is random, by a seed.
Arguments: numbers of shards.
"""

import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from children import in_child
from protocol import CONFIGS, show

from odynn import config, provenance, storage
from odynn.data import Cause, Fit, Status
from odynn.models import experiment_parameters, load_model

STARTS, ITERATIONS = 100, 60
MERGE = """
import sys
from pathlib import Path
from odynn import config, stages

path, folder = sys.argv[1], Path(sys.argv[2])
((name, _),) = config.load(path).experiments.items()
settings = config.load(path).settings(name, "merge_fits")
fits = sorted(folder.glob("fits/*.h5"))
stages.merge_fits(settings, fits[:int(sys.argv[3])], folder / "fit.h5", folder / "fit.csv")
"""


def main(numbers: Sequence[int]) -> None:
    """Print a line for each number of shards."""
    path = CONFIGS / "config.yaml"
    checked = config.load(path)
    ((name, settings),) = checked.experiments.items()
    stamp = provenance.stamp("fit", checked.settings(name, "fit"), {"target": "0" * 64})
    lines = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for shard in range(max(numbers)):
            fit = _made_up(settings, shard)
            first, last = fit.ids[[0, -1]]
            storage.write_fit(folder / "fits" / f"{first:06d}-{last:06d}.h5", fit, stamp)
        files = sorted(folder.glob("fits/*.h5"))
        # Of one shard, what the process takes before it merges anything.
        base, _ = in_child([sys.executable, "-c", MERGE, path, folder, "1"])
        for number in numbers:
            use, _ = in_child([sys.executable, "-c", MERGE, path, folder, str(number)])
            data = _bytes_of(fit) * number / 1e6
            disk = sum(file.stat().st_size for file in files[:number]) / 1e6
            digest = hashlib.sha256()
            for output in ("fit.h5", "fit.csv"):
                digest.update((folder / output).read_bytes())
            times = f"{(use.megabytes - base.megabytes) / data:.1f}"
            took = [f"{use.seconds:.1f}", f"{use.cpu:.1f}", f"{use.megabytes:.0f}", times]
            lines.append([str(number), f"{disk:.1f}", f"{data:.1f}", *took, digest.hexdigest()[:12]])
    headings = ["shards", "files (MB)", "numbers (MB)", "seconds", "CPU seconds", "memory (MB)"]
    headings += ["memory above that of 1 shard / numbers", "SHA-256 of the result"]
    show(f"Merging shards of {STARTS} starts, made up", headings, lines, [])


def _made_up(settings: dict, shard: int) -> Fit:
    """Return a fit of random numbers."""
    draw = np.random.default_rng([7, shard])
    rows = experiment_parameters(load_model(settings["model"]), settings["parameters"], "auto")
    values = [{name: draw.uniform(*row.start, STARTS) for name, row in rows.items()} for _ in range(2)]
    iterations = draw.integers(20, ITERATIONS, STARTS, endpoint=True)
    history = np.exp(draw.normal(size=(iterations.max(), STARTS))).cumsum(axis=0)[::-1]
    history = np.where(np.arange(len(history))[:, None] < iterations, history, np.nan)
    loss = np.exp(draw.normal(size=STARTS))
    return Fit(
        ids=shard * STARTS + np.arange(STARTS),
        parameters=rows,
        start_values=values[0],
        values=values[1],
        start_loss=loss * 100,
        loss=loss,
        rmse_train={"V": np.sqrt(loss)},
        rmse_test={"V": 1.1 * np.sqrt(loss)},
        status=np.where(iterations < ITERATIONS, Status.CONVERGED, Status.ITERATION_LIMIT).astype("i1"),
        cause=np.full(STARTS, Cause.NONE, "i1"),
        iterations=iterations,
        history=history,
        stage=np.minimum(np.arange(len(history)) // 20, 1),
        units={"V": "mV", "loss": "mV²"},
        loss_parts={"V": loss},
    )


def _bytes_of(fit: Fit) -> int:
    columns = [getattr(fit, name) for name in Fit._PER_START]
    columns += [column for name in Fit._PER_START_MAPS for column in getattr(fit, name).values()]
    return fit.history.nbytes + sum(column.nbytes for column in columns)


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]] or [10, 100, 1000])
