"""The workflow through the profile of SLURM: where its jobs run, with what, and what comes out."""

import re

import pytest

pytestmark = pytest.mark.slurm

SHARDS = [f"00000{number}-00000{number}" for number in range(5)]
ON_GPUS = ("simulate_starts", "fit")
# What the profile asks for: processors, MB, minutes.
ASKED = {
    "make_target": (1, 2000, 30),
    "simulate_starts": (4, 4000, 60),
    "fit": (4, 4000, 240),
    "simulate_best": (4, 4000, 60),
    "uncertainty": (4, 4000, 120),
    "plot_results": (1, 2000, 30),
}


def rule_of(job):
    return re.match(r"rule_(\w+)_wildcards_tiny", job["Comment"])[1]


def gpu_of(job):
    """Return the number of the GPU that SLURM gave a job, None for none."""
    found = re.fullmatch(r"gpu:1\(IDX:(\d)\)", job["GRES"])
    return found and int(found[1])


def test_the_results_are_those_of_a_run_without_slurm(placed, undisturbed):
    found = placed.workflow.results()
    data = [name for name in undisturbed if name.endswith((".h5", ".csv"))]
    assert len(data) > 20
    assert [name for name in data if found[name] != undisturbed[name]] == []
    assert set(found) == set(undisturbed)


def test_a_second_run_has_nothing_to_do(placed):
    code, text = placed.workflow.run()
    assert code == 0, text
    assert "Nothing to be done" in text


def test_jobs_get_what_the_profile_asks_for(placed):
    jobs = placed.jobs.values()
    assert {rule_of(job) for job in jobs} == set(ASKED)  # the others run beside Snakemake
    assert sum(rule_of(job) == "fit" for job in jobs) == len(SHARDS)
    for job in jobs:
        processors, memory, minutes = ASKED[rule_of(job)]
        limit = f"{minutes // 60:02d}:{minutes % 60:02d}:00"
        assert (job["NumCPUs"], job["Mem"], job["TimeLimit"]) == (str(processors), str(memory), limit), job
        assert (gpu_of(job) is not None) == (rule_of(job) in ON_GPUS), job


def test_jobs_at_the_same_time_on_a_node_get_different_gpus(placed):
    together = 0
    for jobs in placed.together:
        given = [(job["NodeList"], gpu_of(job)) for job in jobs if gpu_of(job) is not None]
        assert len(set(given)) == len(given)
        together = max(together, len(given) - len({node for node, _ in given}))
    assert together > 0


def test_fits_run_on_every_node_and_their_logs_say_where(placed, cluster):
    told = {}
    for job in placed.jobs.values():
        if rule_of(job) in ON_GPUS:
            shard = job["Comment"].rpartition("_")[2]
            line = f"SLURM job {job['JobId']} on node {job['NodeList']}, with GPU {gpu_of(job)}\n"
            assert line in placed.workflow.log(rule_of(job), shard)
            told[rule_of(job), shard] = job["NodeList"]
    assert set(told) == {(rule, shard) for rule in ON_GPUS for shard in SHARDS}
    assert {told["fit", shard] for shard in SHARDS} == set(cluster.nodes)
    best = (placed.workflow.folder / "results/tiny/logs/simulate_best.log").read_text("utf-8")
    assert re.search(r"SLURM job \d+ on node n\d, without a GPU\n", best)
