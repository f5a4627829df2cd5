"""What Snakemake itself costs with many shards: planning a run, and running jobs that do nothing.

The experiment is that of ``config/config.yaml`` with shards of 100 starts. Where jobs run, they write a byte
into each file that they declare: what is measured is Snakemake's own process and nothing else. Arguments:
the numbers of shards of the first table.
"""

import re
import shutil
import sys
import tempfile
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path

import yaml
from children import Use, in_child
from protocol import show

ROOT = Path(__file__).parents[1]
SHARD = 100
# Of the tables of settings.
RUN_SHARDS, PLAN_SHARDS = 300, 1000
AT_ONCE = "--scheduler greedy --cores 100000"
RUN_SETTINGS = {
    "Snakemake's defaults": "",
    "scheduler: greedy": "--scheduler greedy",
    "greedy, scheduler-subsample: 100": "--scheduler greedy --scheduler-subsample 100",
    "greedy, 100, drop-metadata": "--scheduler greedy --scheduler-subsample 100 --drop-metadata",
    "greedy, all jobs at once": AT_ONCE,
}
PLAN_SETTINGS = {
    "as it is": "",
    "--rerun-triggers mtime": "--rerun-triggers mtime",
    "--batch merge_fits=1/10": "--batch merge_fits=1/10",
}
EMPTY_JOBS = """
import sys
from pathlib import Path
from snakemake.cli import main
from snakemake.executors.local import Executor
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

def run_job(self, job):
    info = SubmittedJobInfo(job=job)
    self.report_job_submission(info)
    for file in [*job.output, *([job.benchmark] if job.benchmark else [])]:
        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    self.report_job_success(info)

Executor.run_job = run_job
main(sys.argv[1:])
"""


def main(numbers: Sequence[int]) -> None:
    """Print three tables: plans of several sizes, settings of a run, settings of a plan."""
    lines = []
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            place = _laid_out(Path(folder), number)
            nothing = _planned(place)
            _finish(place, number)
            everything = _planned(place)
            _interrupt(place, number)
            states = {"nothing": nothing, "half": _planned(place), "all": everything}
        lines += [[number, name, *state] for name, state in states.items()]
    headings = ["shards", "done", "jobs planned", "seconds", "CPU seconds", "memory (MB)"]
    show("snakemake --dry-run --quiet rules", headings, _text(lines), [])

    lines = []
    for name, options in RUN_SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            place = _laid_out(Path(folder), RUN_SHARDS)
            use = _run(place, options)
            jobs = 3 * RUN_SHARDS + 7
            lines.append([name, use.seconds, use.cpu, 1000 * use.cpu / jobs, use.megabytes])
    headings = ["settings", "seconds", "CPU seconds", "CPU ms a job", "memory (MB)"]
    show(f"A run of {RUN_SHARDS} shards, empty jobs, 2 at once", headings, _text(lines), [])

    lines = []
    with tempfile.TemporaryDirectory() as folder:
        place = _laid_out(Path(folder), PLAN_SHARDS)
        _finish(place, PLAN_SHARDS)
        _interrupt(place, PLAN_SHARDS)
        for name, options in PLAN_SETTINGS.items():
            lines.append([name, *_planned(place, options)])
    headings = ["options", "jobs planned", "seconds", "CPU seconds", "memory (MB)"]
    show(f"A dry run of {PLAN_SHARDS} shards, half of them done", headings, _text(lines), [])


def _laid_out(folder: Path, shards: int) -> Path:
    """Make a working folder with the workflow and a configuration of so many shards."""
    (folder / "workflow").symlink_to(ROOT / "workflow")
    (folder / "config").mkdir()
    _configure(folder, shards)
    return folder


def _configure(folder: Path, shards: int) -> None:
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text("utf-8"))
    (settings,) = config["experiments"].values()
    settings["starts"] |= {"number": shards * SHARD, "shard_size": SHARD}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")


def _named(shard: int) -> str:
    return f"{shard * SHARD:06d}-{shard * SHARD + SHARD - 1:06d}"


def _finish(folder: Path, shards: int) -> None:
    """Bring the folder to where a whole run has ended, without running 30 000 jobs.

    One shard is run. Its files, and Snakemake's notes of them, are copied under the names of the others; then
    Snakemake runs what merges them.
    """
    _configure(folder, 1)
    _run(folder, AT_ONCE)
    notes = folder / ".snakemake" / "metadata"
    # In the order in which they were made: an input must not be newer than what was made from it.
    for note in sorted(notes.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        path = urlsafe_b64decode(note.name).decode()
        if _named(0) in path:
            text = note.read_text("utf-8")
            for shard in range(1, shards):
                other = path.replace(_named(0), _named(shard))
                (folder / other).write_text("x")
                copy = notes / urlsafe_b64encode(other.encode()).decode()
                copy.write_text(text.replace(_named(0), _named(shard)), "utf-8")
    _configure(folder, shards)
    _run(folder, AT_ONCE)


def _planned(folder: Path, options: str = "") -> list:
    """Return the number of jobs of a dry run, and what it took."""
    command = ["-m", "snakemake", "--cores", "2", "--dry-run", "--quiet", "rules", *options.split()]
    use, text = in_child([sys.executable, *command], folder)
    total = re.search(r"^total +(\d+)$", text, re.M)
    return [int(total[1]) if total else 0, use.seconds, use.cpu, use.megabytes]


def _run(folder: Path, options: str) -> Use:
    """Run the workflow with empty jobs."""
    command = ["-c", EMPTY_JOBS, "--cores", "2", "--quiet", "rules", "progress", "host", *options.split()]
    return in_child([sys.executable, *command], folder)[0]


def _interrupt(folder: Path, shards: int) -> None:
    """Remove what a run that was stopped half-way has not made: every other shard, and all that is merged."""
    (results,) = (folder / "results").iterdir()
    for part in ("starts", "simulated", "fits"):
        for shard in range(0, shards, 2):
            (results / part / f"{_named(shard)}.h5").unlink()
    shutil.rmtree(results / "figures")
    shutil.rmtree(results / "tables")
    for name in ("fit.h5", "fit.csv", "best.h5", "uncertainty.h5", "report.html"):
        (results / name).unlink()


def _text(lines: Sequence[Sequence]) -> list[list[str]]:
    return [[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in line] for line in lines]


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]] or [100, 1000, 10_000])
