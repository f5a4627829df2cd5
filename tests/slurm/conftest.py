"""A SLURM cluster for all tests here, and the workflow on it through the profile that users get."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
import yaml

from tests.slurm.cluster import Cluster, missing
from tests.workflow.conftest import CONFIG, Workflow, lay_out

# A loss that takes its time while a file beside it says so, and memory where a file names its job. Neither
# changes what it returns.
LOSS = '''"""A loss that can be held up."""

import os
import time
from pathlib import Path

import numpy as np

from odynn.fitting.losses import SweepTerm


class Deviation(SweepTerm):
    """The mean distance from the recording."""

    observed = None

    def prepare(self, target):
        found = Deviation()
        found.observed = target.observed["V"][:, :, None]
        return found

    def values(self, traces):
        here = Path(__file__)
        if here.with_name("brake").exists():
            time.sleep(2)
        if here.with_name(f"greedy.{os.environ.get('SLURM_JOB_ID')}").exists():
            taken = np.ones(2_000_000_000 // 8)
            time.sleep(30)
            del taken
        return np.abs(traces["V"] - self.observed).mean(axis=0)
'''
# Five shards of one start, of two kinds of stages; the second is long where the brake is on.
STAGES = [
    {"method": "levenberg_marquardt", "iterations": 2},
    {
        "method": "cma_es",
        "iterations": 150,
        "population": 4,
        "sigma": 0.1,
        "tolerance": 1e-12,
        "loss": [{"kind": "held.py:Deviation"}],
    },
]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Give a cluster of three nodes with two GPUs each."""
    lacking = missing()
    if lacking:
        pytest.skip(
            f"no SLURM here: {', '.join(lacking)} not found (Debian: slurmctld slurmd slurm-client munge)"
        )
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


class OnCluster(Workflow):
    """The workflow, run through the profile ``slurm``, of which only what is a cluster's own is changed."""

    cluster = None

    def set_up(self, cluster, **changes):
        """Write the profile for a cluster, with changes of its resources, {rule: {resource: value}}."""
        self.cluster = cluster
        profile = yaml.safe_load((self.folder / "workflow/profiles/slurm/config.yaml").read_text("utf-8"))
        profile["default-resources"]["slurm_partition"] = "gpu"  # the only one that it has
        profile["latency-wait"] = 10
        profile["slurm-init-seconds-before-status-checks"] = 2
        for rule, resources in changes.items():
            profile["set-resources"][rule] |= resources
        path = self.folder / "profile" / "config.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(profile), "utf-8")
        return self

    def start(self, *arguments, **options):
        """Start Snakemake with the profile, in a process group of its own."""
        command = [self.folder / ".venv" / "bin" / "python", "-m", "snakemake", *arguments]
        environment = {**self.cluster.environment, "PYTHONPATH": str(self.folder), "COLUMNS": "200"}
        none = subprocess.DEVNULL
        options = {"stdin": none, "stdout": none, "stderr": none, **options}
        return subprocess.Popen(
            [*command, "--workflow-profile", "profile"],
            cwd=self.folder,
            env=environment,
            start_new_session=True,
            **options,
        )

    def log(self, stage, shard):
        """Return the log of a shard's job, empty where there is none yet."""
        path = self.folder / "results" / "tiny" / "logs" / stage / f"{shard}.log"
        return path.read_text("utf-8") if path.exists() else ""


def lay_out_shards(folder, kind):
    """Lay out the workflow with five shards of one start, in a class of workflows."""
    lay_out(folder)
    (folder / "config" / "held.py").write_text(LOSS, "utf-8")
    workflow = kind(folder)
    workflow.config = CONFIG
    workflow.change(starts={"number": 5, "shard_size": 1}, fit={"stages": STAGES})
    return workflow


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Give {path: content} of the result files of a run without SLURM."""
    workflow = lay_out_shards(tmp_path_factory.mktemp("local") / "a folder", Workflow)
    code, text = workflow.run(timeout=900)
    assert code == 0, text
    return workflow.results()


class Run:
    """A run on the cluster that has ended, and what was seen of its jobs meanwhile.

    Attributes:
        workflow: where it was.
        jobs: number to fields of each job, as it was seen last.
        together: lists of jobs that were seen at the same time.
    """

    def __init__(self, workflow):
        self.workflow, self.jobs, self.together = workflow, {}, []


@contextmanager
def started(workflow, *arguments, output):
    """Give a Snakemake at work, which writes to a file; kill it if it has not ended with the block."""
    with (
        open(output, "w", encoding="utf-8") as file,
        workflow.start(*arguments, stdout=file, stderr=subprocess.STDOUT) as running,
    ):
        try:
            yield running
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def placed(cluster, tmp_path_factory):
    """Give a run of the whole workflow on the cluster, watched; not to be changed."""
    folder = tmp_path_factory.mktemp("cluster")
    run = Run(lay_out_shards(folder / "a folder", OnCluster).set_up(cluster))
    with started(run.workflow, output=folder / "output.txt") as running:
        end = time.monotonic() + 1200
        while running.poll() is None and time.monotonic() < end:
            jobs = {number: job for number, job in cluster.jobs().items() if job["JobState"] == "RUNNING"}
            run.jobs |= jobs
            run.together.append(list(jobs.values()))
            time.sleep(0.5)
    assert running.returncode == 0, (folder / "output.txt").read_text("utf-8")
    return run


@pytest.fixture(scope="session")
def copy_of(cluster):
    """Give a function that copies the workflow of a run, to change it and the resources of its rules."""

    def copy(run, folder, **changes):
        shutil.copytree(run.workflow.folder, folder, symlinks=True)
        return OnCluster(folder).set_up(cluster, **changes)

    return copy
