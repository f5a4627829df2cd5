"""What is asked of SLURM, with a stand-in for its client."""

import pytest

from odynn.errors import WorkflowError
from odynn.slurm import placement, refuse_left_over_jobs

NAMES = {"rule_fit_wildcards_cell_000000-000001", "rule_report_wildcards_cell"}


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Give a function that says what squeue writes."""

    def answer(*jobs, code=0):
        text = "\n".join("\t".join(job) for job in jobs)
        client = tmp_path / "bin" / "squeue"
        client.parent.mkdir(exist_ok=True)
        client.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n", "utf-8")
        client.chmod(0o755)
        monkeypatch.setenv("PATH", str(client.parent), prepend=":")

    return answer


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, ""),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ""),
        ({"SLURM_JOB_ID": "41", "SLURMD_NODENAME": "n2"}, "SLURM job 41 on node n2, without a GPU"),
        (
            {"SLURM_JOB_ID": "41", "SLURMD_NODENAME": "n2", "CUDA_VISIBLE_DEVICES": "0,1"},
            "SLURM job 41 on node n2, with GPU 0,1",
        ),
        ({"SLURM_JOB_ID": "41"}, "SLURM job 41, without a GPU"),
    ],
)
def test_placement(variables, text):
    assert placement(variables) == text


def test_jobs_of_an_earlier_run_are_refused(queue, tmp_path):
    here = str(tmp_path)
    queue(
        ("41", "run-a", here, "rule_fit_wildcards_cell_000000-000001"),
        ("42", "run-a", here, "rule_report_wildcards_cell"),
        ("43", "run-b", here, "rule_report_wildcards_another"),
        ("44", "run-c", "/elsewhere", "rule_report_wildcards_cell"),
    )
    with pytest.raises(WorkflowError) as error:
        refuse_left_over_jobs(tmp_path, NAMES)
    assert "are still queued or running: 41, 42. Cancel them (scancel --name=run-a)" in str(error.value)


def test_other_jobs_are_let_be(queue, tmp_path):
    queue(("43", "run-b", str(tmp_path), "rule_report_wildcards_another"), ("44", "name", "/elsewhere", ""))
    refuse_left_over_jobs(tmp_path, NAMES)
    queue(code=1)
    refuse_left_over_jobs(tmp_path, NAMES)


def test_a_machine_without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    refuse_left_over_jobs(tmp_path, NAMES)
