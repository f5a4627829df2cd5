"""What does a run cost beyond the fits themselves: imports, compilation, Snakemake?

How long each import and command takes to start; how long the first call of each compiled computation takes
beyond the second; and `snakemake --cores 2` from the configuration to the report in a fresh copy of the
workflow, for the default run and for the original library's own task (the same without noise; 347 s there),
beside the same stages called one after the other in one process.

Run it in the project's own environment: TensorFlow imports JAX where it finds it, which takes seconds more.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import yaml
from contenders import make_target, odynn_problem
from measuring import (
    FOLDER,
    Contender,
    Worker,
    drawing,
    machine,
    options,
    progress,
    publish,
    timed,
    workers,
)

ROOT = FOLDER.parent
ORIGINAL = 347.0  # s
CONFIG = ROOT / "config" / "config.yaml"
STARTS = {
    "python": ["-c", ""],
    "import odynn": ["-c", "import odynn"],
    "import odynn.config": ["-c", "import odynn.config"],
    "import tensorflow": ["-c", "import tensorflow"],
    "import odynn.fitting.problem": ["-c", "import odynn.fitting.problem"],
    "import odynn.plotting": ["-c", "import odynn.plotting"],
    "import snakemake": ["-c", "import snakemake.cli"],
    "odynn --help": ["-m", "odynn.cli", "--help"],
    "odynn check": ["-m", "odynn.cli", "check", str(CONFIG)],
}
KERNELS = ("losses", "gradient", "normal_equations")


def compiling(cores: int, model: str, solver: str, sets: int) -> Contender:
    """Make the seconds of a first call of each compiled computation, and of a second."""
    target = make_target(model, solver)
    problem, u, base = odynn_problem(model, target, solver, sets, cores)
    return Contender(
        {name: partial(timed, getattr(problem, name), u, base) for name in KERNELS},
        float(sets * target.stimulus.size),
    )


def main() -> None:
    """Print the three tables."""
    given = options(__doc__, repetitions=3)
    publish(
        given.output,
        "cold_start_imports",
        f"Starting, s (of {given.repetitions}: the first, and the fastest)",
        ("what", "first", "fastest"),
        [_start(name, command, given.repetitions) for name, command in STARTS.items()],
    )
    made = {
        "celegans": partial(Worker, compiling, 0, model="celegans", solver="implicit_euler", sets=64),
        "hodgkinhuxley": partial(
            Worker, compiling, 0, model="hodgkinhuxley", solver="exponential_euler", sets=64
        ),
    }
    rows = []
    with workers(made) as found:
        for model, worker in found.items():
            for kernel in worker.tasks:
                first, second = (worker.run(kernel, wanted=True)[1] for _ in range(2))
                rows.append([model, kernel.replace("_", " "), first, second, first - second])
    publish(
        given.output,
        "cold_start_compiling",
        "Compiling, s, 64 starts, all free parameters",
        ("model", "computation", "first call", "second call", "difference"),
        rows,
    )
    _workflow(given)


def _start(name: str, command: list[str], repetitions: int) -> list:
    progress(name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment, "cwd": ROOT}
    seconds = [
        timed(partial(subprocess.run, [sys.executable, *command], check=True, **quiet))
        for _ in range(repetitions)
    ]
    return [name, seconds[0], min(seconds)]


def _workflow(given) -> None:
    default = yaml.safe_load(CONFIG.read_text("utf-8"))
    task = yaml.safe_load(CONFIG.read_text("utf-8"))
    task["experiments"]["celegans"]["target"]["synthetic"]["noise"] = {}
    runs, jobs = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, config in (("default run", default), ("the original's task", task)):
            place = _laid_out(Path(folder) / name.replace(" ", "_"), config)
            planned = timed(_snakemake, place, "--dry-run")
            cold = timed(_snakemake, place)
            jobs[name] = _jobs(place)
            again = timed(_snakemake, place, "--forceall")
            progress(f"{name}: in one process")
            once = _in_one_process(place)
            runs.append([name, planned, cold, again, once, cold - once, ORIGINAL / cold])
    publish(
        given.output,
        "cold_start_workflow",
        "snakemake --cores 2, from the configuration to the report, s",
        (
            "run",
            "dry run",
            "cold",
            "again, --forceall",
            "in one process",
            "beyond it",
            "times faster than 347 s",
        ),
        runs,
        ("", "", "", "", "", "10 (the original's task)"),
        "in one process: the stages up to the merged fit, TensorFlow's import included. " + machine(),
    )
    rules = list(dict.fromkeys(rule for found in jobs.values() for rule in found))
    publish(
        given.output,
        "cold_start_jobs",
        "Jobs of the cold runs: number, and mean seconds of a job by Snakemake's benchmark",
        ("rule", *(f"{name}: {what}" for name in jobs for what in ("jobs", "s a job"))),
        [
            [
                rule,
                *(
                    value
                    for found in jobs.values()
                    for value in (
                        str(len(found[rule])),
                        statistics.fmean(found[rule]) if found[rule] else None,
                    )
                ),
            ]
            for rule in rules
        ],
    )
    with drawing(given.output, "cold_start_jobs", "seconds in all jobs of a rule", "") as axes:
        for place, (name, found) in enumerate(jobs.items()):
            at = [row + 0.4 * place - 0.2 for row in range(len(rules))]
            axes.barh(at, [sum(found[rule]) for rule in rules], 0.4, label=name)
        axes.set_yticks(range(len(rules)), rules)
        axes.invert_yaxis()


def _laid_out(folder: Path, config: dict) -> Path:
    for name in ("odynn", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "config").mkdir()
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return folder


def _snakemake(folder: Path, *arguments: str) -> None:
    progress(f"{folder.name}: snakemake {' '.join(arguments)}")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(done.stdout)


def _jobs(folder: Path) -> dict[str, list[float]]:
    """Return the seconds of the jobs of each rule, from what its directive `benchmark` wrote."""
    found = defaultdict(list)
    for path in sorted(folder.glob("results/*/benchmarks/**/*.tsv")):
        rule = re.sub(r"[-.].*", "", str(path.relative_to(folder)).split("/")[3])
        header, row = (line.split("\t") for line in path.read_text("utf-8").splitlines()[:2])
        found[rule].append(float(row[header.index("s")]))
    return found


def _in_one_process(folder: Path) -> float:
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import protocol; "
        f"next(protocol.runs({str(folder / 'config' / 'config.yaml')!r}, [1]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
