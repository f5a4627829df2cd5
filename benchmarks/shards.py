"""What a job costs before it computes anything, and what a start costs in shards of several sizes.

The experiment is that of ``config/config.yaml``, with its own schedule. Each stage runs in a process of its
own, as a job of the workflow does, on every core that there is. Arguments: the sizes of the shards.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from children import in_child
from protocol import CONFIGS, show

from odynn import config, stages

STARTS = {
    "Python": ["-c", ""],
    "Python, odynn.stages": ["-c", "import odynn.stages"],
    "Python, TensorFlow": ["-c", "import tensorflow"],
    "Snakemake, its version": ["-m", "snakemake", "--version"],
    "Snakemake, a plan of this experiment": ["-m", "snakemake", "--cores", "2", "--dry-run"],
}
OUTPUTS = {"get_random": "starts", "simulate_starts": "simulated", "fit": "fits/fit"}
STAGE = """
import sys
from odynn import config, stages

path, stage, shard, folder, cores = sys.argv[1:]
checked = config.load(path)
((name, _),) = checked.experiments.items()
files = {"target": "target.h5", "starts": "starts.h5", "simulated": "simulated.h5", "fit": "fits/fit.h5"}
files = {key: f"{folder}/{file}" for key, file in files.items()}
settings = checked.settings(name, stage)
with stages.job(f"{folder}/log"):
    if stage == "get_random":
        stages.get_random(settings, shard, files["starts"])
    elif stage == "simulate_starts":
        read = (files[key] for key in ("target", "starts"))
        stages.simulate_starts(settings, *read, shard, files["simulated"], int(cores))
    else:
        read = (files[key] for key in ("target", "starts", "simulated"))
        stages.fit(settings, *read, shard, files["fit"], int(cores))
"""


def main(sizes: Sequence[int]) -> None:
    """Print a table of processes that do nothing, and one of shards."""
    lines = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for part in ("workflow", "config"):
            (folder / part).symlink_to(CONFIGS.parent / part)
        for name, command in STARTS.items():
            use, _ = in_child([sys.executable, *command], folder)
            lines.append([name, f"{use.seconds:.1f}", f"{use.cpu:.1f}", f"{use.megabytes:.0f}"])
    headings = ["process", "seconds", "CPU seconds", "memory (MB)"]
    show("Processes that do nothing", headings, lines, [])

    cores = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    path = CONFIGS / "config.yaml"
    checked = config.load(path)
    ((name, _),) = checked.experiments.items()
    lines, took = [], {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            stages.make_target(checked.settings(name, "make_target"), folder / "target.h5")
            for stage, file in OUTPUTS.items():
                command = ["-c", STAGE, path, stage, f"{0:06d}-{size - 1:06d}", folder, cores]
                use, _ = in_child([sys.executable, *command])
                took[size, stage] = use
                written = (folder / f"{file}.h5").stat().st_size / 1000
                measured = [use.seconds, use.cpu, 1000 * use.cpu / size, use.megabytes, written]
                lines.append([str(size), stage, *(f"{value:.1f}" for value in measured)])
    headings = ["starts", "stage", "seconds", "CPU seconds", "CPU ms a start", "memory (MB)", "file (kB)"]
    show("Shards, each stage in a process of its own", headings, lines, [])
    few, many = min(sizes), max(sizes)
    for stage in ("simulate_starts", "fit"):
        seconds = (took[many, stage].cpu - took[few, stage].cpu) / (many - few)
        fixed = took[few, stage].cpu - few * seconds
        print(
            f"{stage}: {fixed:.1f} CPU s a job, {1000 * seconds:.0f} ms a start; by a line through two sizes"
        )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [16, 64, 256])
