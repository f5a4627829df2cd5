"""Runs an experiment of a config in this process, with other seeds, and hands back its files."""

import copy
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from odynn import config, stages, storage  # noqa: E402
from odynn.data import Fit, Target  # noqa: E402

CONFIGS = Path(__file__).parents[1] / "config"


@dataclass(frozen=True)
class Outcome:
    """What one run of an experiment gave.

    Attributes:
        seed: of the noise and of the starts.
        target: what was fitted.
        fit: every start, best first.
        seconds: from the first stage to the merged fit, compilation included.
        settings: of the experiment, as run.
    """

    seed: int
    target: Target
    fit: Fit
    seconds: float
    settings: dict


def runs(path: str, seeds: Sequence[int], **changes) -> Iterator[Outcome]:
    """Run the only experiment of a config once for each seed.

    Args:
        path: of the config, from the folder ``config``.
        seeds: replace those of the starts and of the noise.
        changes: sections of the experiment with the keys that replace its own; the loss as a whole.
    """
    checked = config.load(CONFIGS / path)
    ((_, settings),) = checked.experiments.items()
    for seed in seeds:
        changed = copy.deepcopy(settings)
        for section, keys in changes.items():
            changed[section] = keys if section == "loss" else changed[section] | keys
        changed["starts"]["seed"] = seed
        if "synthetic" in changed["target"]:
            changed["target"]["synthetic"]["seed"] = seed
        with tempfile.TemporaryDirectory() as folder:
            outcome = _run(changed, Path(folder), seed)
            # Tables come at the end; until then one sees how far it is.
            print(f"{Path(path).stem}, seed {seed}: {outcome.seconds:.0f} s", file=sys.stderr)
            yield outcome


def _run(settings: dict, folder: Path, seed: int) -> Outcome:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    shard = f"{0:06d}-{settings['starts']['number'] - 1:06d}"
    paths = {name: folder / f"{name}.h5" for name in ("target", "starts", "simulated", "fit")}
    began = time.perf_counter()
    stages.make_target(settings, paths["target"])
    stages.get_random(settings, shard, paths["starts"], paths["target"])
    stages.simulate_starts(settings, paths["target"], paths["starts"], shard, paths["simulated"], cores)
    shard_file = folder / "fits" / f"{shard}.h5"
    stages.fit(settings, *(paths[n] for n in ("target", "starts", "simulated")), shard, shard_file, cores)
    stages.merge_fits(settings, [shard_file], paths["fit"], folder / "fit.csv")
    seconds = time.perf_counter() - began
    target, merged = storage.read_target(paths["target"]), storage.read_fit(paths["fit"])
    return Outcome(seed, target, merged, seconds, settings)


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], reach: Sequence[str]) -> None:
    """Print a table, one line a run, and last what is to be reached, if anything."""
    lines = [list(headings), *(list(row) for row in rows), *([["to reach", *reach]] if any(reach) else [])]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headings))]
    print(f"\n{title}")
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
