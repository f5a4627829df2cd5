"""Faults that only a cluster has: whatever becomes of jobs, nodes or Snakemake, the results are the same.

One scenario, in which the faults wait for time limits together and not one after the other. First
Snakemake is killed with its jobs at work, which go on without it; then each of five shards meets a fault
of its own while it is fitted.
"""

import os
import signal
import time
from types import SimpleNamespace

import pytest

from tests.slurm.conftest import started

pytestmark = pytest.mark.slurm

SHARDS = [f"00000{number}-00000{number}" for number in range(5)]
FIT = "results/tiny/fit.h5"
# How each fault but the loss of a node ends a job.
STATES = {
    "cancelled": "CANCELLED",
    "step killed": "TIMEOUT",  # which is when SLURM sees it
    "too long": "TIMEOUT",
    "too large": "FAILED",
}
MEMORY = 1500  # MB that a fit asks for at first; what is held up takes 2000 more


def wait_until(condition, running=None, seconds=400):
    """Wait for something to become true, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert running is None or running.poll() is None, "Snakemake has ended"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.3)
    return found


def shard_of(job):
    return job["Comment"].rpartition("_")[2]


@pytest.fixture(scope="module")
def scenario(placed, cluster, copy_of, tmp_path_factory):
    """Let it happen, and give what was seen of it."""
    folder = tmp_path_factory.mktemp("faults")
    workflow = copy_of(placed, folder / "a folder", fit={"mem_mb": f"{MEMORY} * attempt"})
    for path in [*workflow.folder.glob("results/tiny/fits/*.h5"), workflow.folder / FIT]:
        path.unlink()
    brake = workflow.folder / "config" / "brake"
    brake.touch()

    def fits():
        """Return the jobs at work on a fit, by shard, once all are in its second stage."""
        jobs = {shard_of(job): job for job in cluster.jobs().values() if job["JobState"] == "RUNNING"}
        logs = {shard: workflow.log("fit", shard) for shard in jobs}
        at_work = [
            shard
            for shard, job in jobs.items()
            if f"SLURM job {job['JobId']} " in logs[shard]
            and "stage 2 of 2" in logs[shard]
            and (workflow.folder / f"results/tiny/checkpoints/{shard}.npz").exists()
        ]
        return jobs if set(at_work) == set(SHARDS) else None

    with started(workflow, FIT, output=folder / "killed.txt") as running:
        orphans = wait_until(fits, running)
        os.killpg(running.pid, signal.SIGKILL)
    refused, after = workflow.run(FIT), fits()
    cluster.run("scancel", *(job["JobId"] for job in orphans.values()))
    wait_until(lambda: not cluster.run("squeue", "--noheader"))

    with started(workflow, FIT, output=folder / "faults.txt") as running:
        first = by_fault(wait_until(fits, running))
        numbers = {fault: job["JobId"] for fault, job in first.items()}
        cluster.run("scancel", numbers["cancelled"])
        for fault in ("step killed", "too long"):
            cluster.run("scontrol", "update", f"JobId={numbers[fault]}", "TimeLimit=1")
        kill_step(cluster, first["step killed"])
        (brake.parent / f"greedy.{numbers['too large']}").touch()
        node = first["node lost"]["NodeList"]
        cluster.lose_node(node)

        def over():
            jobs = cluster.jobs()
            ended = {jobs[number]["JobState"] for fault, number in numbers.items() if fault != "node lost"}
            return jobs[numbers["node lost"]]["Restarts"] == "1" and not ended & {"RUNNING", "COMPLETING"}

        wait_until(over, running)
        brake.unlink()
        known = cluster.jobs()
        code = running.wait(900)
    text = (folder / "faults.txt").read_text("utf-8")
    assert code == 0, text
    cluster.start_node(node)
    ended = {fault: known[number] for fault, number in numbers.items()}
    latest = {
        shard_of(job): job for job in sorted(cluster.jobs().values(), key=lambda job: int(job["JobId"]))
    }
    last = {fault: latest[shard_of(job)] for fault, job in first.items()}
    rerun = workflow.run(FIT)
    logs = {shard: workflow.log("fit", shard) for shard in SHARDS}
    return SimpleNamespace(**locals())


def by_fault(jobs):
    """Return which job meets which fault; the lost node is one where no other job would be lost with it."""
    nodes = [job["NodeList"] for job in jobs.values()]
    ordered = sorted(jobs.values(), key=lambda job: nodes.count(job["NodeList"]))
    assert nodes.count(ordered[0]["NodeList"]) == 1
    return dict(zip(("node lost", *STATES), ordered, strict=True))


def kill_step(cluster, job):
    """Kill what runs as the step of a job, and the daemon that watches it."""
    watching = cluster.step_daemons(job["NodeList"], f"{job['JobId']}.0")
    inside = cluster.processes(SLURM_JOB_ID=job["JobId"], SLURM_STEP_ID="0")
    assert watching
    assert inside
    for process in [*watching, *inside]:
        os.kill(process, signal.SIGKILL)


def test_jobs_whose_snakemake_was_killed_are_left_alone_and_named(scenario):
    code, text = scenario.refused
    assert code != 0
    assert "was killed: its locks are removed" in text
    assert "Error: a run must be the only one that works on its files." in text
    numbers = sorted((job["JobId"] for job in scenario.orphans.values()), key=int)
    assert f"still queued or running: {', '.join(numbers)}. Cancel them (scancel --name=" in text
    assert "Traceback" not in text
    assert scenario.after.keys() == scenario.orphans.keys()


def test_each_fault_was_what_it_should_be(scenario):
    assert {fault: scenario.ended[fault]["JobState"] for fault in STATES} == STATES
    again = scenario.last["node lost"]
    assert again["JobId"] == scenario.numbers["node lost"]
    assert again["NodeList"] != scenario.node


def test_a_new_attempt_asks_for_more(scenario):
    for fault in STATES:
        job = scenario.last[fault]
        assert job["JobId"] != scenario.numbers[fault]
        assert (job["Mem"], job["TimeLimit"]) == (str(2 * MEMORY), "08:00:00")


def test_every_fit_goes_on_from_its_checkpoint(scenario):
    assert scenario.text.count("stopped by SIGTERM; run the same command again to go on") >= 2
    for shard in SHARDS:
        assert "going on from a checkpoint: 1 searches done" in scenario.logs[shard]
    assert not (scenario.workflow.folder / "results/tiny/checkpoints").exists()


def test_what_happened_can_be_read(scenario):
    for words in ("DUE TO TIME LIMIT", "Exceeded job memory limit", "SLURM status is: 'CANCELLED'"):
        assert words in scenario.text


def test_the_results_are_the_undisturbed_ones_and_the_same_command_has_nothing_to_do(scenario, undisturbed):
    code, text = scenario.rerun
    assert code == 0, text
    assert "Nothing to be done" in text
    found = scenario.workflow.results()
    data = [name for name in undisturbed if "/fits/" in name or name.endswith(("fit.h5", "fit.csv"))]
    assert len(data) == 7
    assert [name for name in data if found[name] != undisturbed[name]] == []
