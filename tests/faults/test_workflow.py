"""The workflow under faults: the plain command, given again, completes, and the results are the same."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.tools import EXPERIMENT, ROOT, SHARD, descendants, differences, loaded, wait_for

SHARDED = ("get_random", "simulate_starts", "fit")
# Where to wait before a random moment, who gets the signal, and which.
KILLS = [
    (None, "snakemake", signal.SIGKILL),
    ("simulate_starts", "all", signal.SIGKILL),
    ("fit", "snakemake", signal.SIGKILL),
    ("fit", "all", signal.SIGINT),
    ("fit", "job", signal.SIGTERM),
    ("fit", "job", signal.SIGUSR1),
    ("fit", "all", signal.SIGTERM),
    ("uncertainty", "job", signal.SIGKILL),
    ("plot_results", "snakemake", signal.SIGKILL),
]


def log_of(workflow, stage):
    name = f"{stage}/{SHARD}.log" if stage in SHARDED else f"{stage}.log"
    return workflow.folder / "results" / "tiny" / "logs" / name


def state(path):
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


class Run:
    """Snakemake at work, and what it writes."""

    def __init__(self, workflow, *arguments):
        self._out = workflow.folder / f"{time.monotonic_ns()}.out"
        with self._out.open("wb") as out:
            self.process = workflow.start(*arguments, stdout=out, stderr=subprocess.STDOUT)

    def runs(self):
        return self.process.poll() is None

    @property
    def text(self):
        return self._out.read_text("utf-8")

    def end(self):
        try:
            return self.process.wait(500)
        finally:
            if self.runs():
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, undisturbed):
    """A workflow killed at random moments, and at last left to finish; not to be changed."""
    lay_out = loaded(ROOT / "tests" / "workflow" / "conftest.py").lay_out
    workflow = lay_out(tmp_path_factory.mktemp("killed") / "a folder")
    workflow.config = {"experiments": {"tiny": EXPERIMENT}}
    random, orphans = np.random.default_rng(4), []
    for stage, whom, number in KILLS:
        # The next run begins at once, whatever of this one is still there.
        orphans += kill(workflow, stage, whom, number, random.uniform(0.2, 1.5))
    assert len(orphans) == 2
    fresh = state(log_of(workflow, "report"))
    run = Run(workflow)
    locks = workflow.folder / ".snakemake" / "locks"
    wait_for(lambda: list(locks.glob(f"*.{run.process.pid}.owner")), what="Snakemake")
    wait_for(lambda: list(locks.glob("*.output.lock")), what="the lock")
    # A second one on the same folder, while the first is made to wait.
    os.killpg(run.process.pid, signal.SIGSTOP)
    second = Run(workflow)
    code = second.end()
    os.killpg(run.process.pid, signal.SIGCONT)
    assert code != 0
    assert "cannot be locked" in second.text
    assert f".{run.process.pid}, which is running" in second.text
    assert run.end() == 0, run.text
    assert "Traceback" not in run.text
    assert [process for process in orphans if Path(f"/proc/{process}").exists()] == []
    assert state(log_of(workflow, "report")) != fresh
    return workflow


def kill(workflow, stage, whom, number, delay):
    """Start the workflow, and send a signal some time after a stage has begun."""
    before = state(log_of(workflow, stage)) if stage else None
    run = Run(workflow)
    if stage:
        log = log_of(workflow, stage)
        wait_for(lambda: state(log) not in (before, None) or not run.runs(), 500, f"the stage {stage}")
    time.sleep(delay)
    assert run.runs(), f"{stage}: it ended before the kill\n{run.text}"
    if stage and whom != "all":
        jobs = [
            process for process, command in descendants(run.process.pid).items() if f"{stage}.py" in command
        ]
        assert jobs, f"{stage}: its job ended before the kill\n{run.text}"
    if whom == "job":
        os.kill(jobs[0], number)
    elif whom == "snakemake":
        os.kill(run.process.pid, number)
    else:
        os.killpg(run.process.pid, number)
    assert run.end() != 0, f"{stage}: the kill did not hit\n{run.text}"
    return jobs if whom == "snakemake" and stage else []


def test_killed_at_random_moments_it_ends_the_same(finished, undisturbed):
    assert differences(finished.folder / "results" / "tiny", undisturbed) == []
    assert not (finished.folder / ".snakemake" / "locks").exists()
    assert len(KILLS) == 9


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the workflow that has finished, to change."""
    shutil.copytree(finished.folder, tmp_path / "a folder", symlinks=True)
    return type(finished)(tmp_path / "a folder")


def test_files_from_the_future_and_the_past(copy, undisturbed):
    results, now = copy.folder / "results" / "tiny", time.time()
    ahead = ["target.h5", f"fits/{SHARD}.h5", "uncertainty.h5"]
    for name in ahead:
        os.utime(results / name, (now + 86400, now + 86400))
    for name in ("fit.h5", "best.h5"):
        os.utime(results / name, (now - 86400 * 400, now - 86400 * 400))
    code, text = copy.run(timeout=500)
    assert code == 0, text
    assert "Nothing to be done" not in text
    assert [name for name in ahead if (results / name).stat().st_mtime > time.time()] == []
    assert differences(results, undisturbed) == []
    assert copy.planned() == {}


@pytest.mark.parametrize("name", [f"fits/{SHARD}.h5", "best.h5"])
def test_a_damaged_file_is_made_again(copy, undisturbed, name):
    results = copy.folder / "results" / "tiny"
    path = results / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, text = copy.run(timeout=500)
    assert code != 0
    assert "Traceback" not in text
    assert "run the same command again" in text
    code, text = copy.run(timeout=500)
    assert code == 0, text
    (results / f"{name}.unreadable").unlink()
    assert differences(results, undisturbed) == []
