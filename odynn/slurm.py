"""What SLURM says of the jobs of a run: where one runs, and which of an earlier run still do."""

import os
import subprocess
from collections.abc import Collection, Mapping

from odynn.errors import WorkflowError, listed


def placement(environment: Mapping[str, str] = os.environ) -> str:
    """Return the job, node and GPUs that this process was given, or an empty string outside SLURM.

    >>> placement({"SLURM_JOB_ID": "41", "SLURMD_NODENAME": "n2", "CUDA_VISIBLE_DEVICES": "0"})
    'SLURM job 41 on node n2, with GPU 0'
    """
    if "SLURM_JOB_ID" not in environment:
        return ""
    node = environment.get("SLURMD_NODENAME", "")
    gpus = environment.get("CUDA_VISIBLE_DEVICES", "")
    return (
        f"SLURM job {environment['SLURM_JOB_ID']}"
        + (f" on node {node}" if node else "")
        + (f", with GPU {gpus}" if gpus else ", without a GPU")
    )


def refuse_left_over_jobs(folder: str | os.PathLike, names: Collection[str]) -> None:
    """Stop a run while jobs of an earlier one, whose Snakemake was killed, still work on the same files.

    Two jobs that write one result write the same bytes, but when the older one fails or begins late,
    Snakemake removes in its name what the newer one has finished.

    Args:
        folder: where Snakemake runs.
        names: the jobs of this run, as Snakemake describes them to SLURM (``squeue --format=%k``).

    Raises:
        WorkflowError: if one of them is queued or running.
    """
    query = ["squeue", "--me", "--noheader", "--format=%i\t%j\t%Z\t%k"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return  # no SLURM here
    jobs = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 3]
    left = {job: run for job, run, where, name in jobs if where == os.path.abspath(folder) and name in names}
    if left:
        cancel = "; ".join(f"scancel --name={run}" for run in sorted(set(left.values())))
        raise WorkflowError(
            "a run must be the only one that works on its files. Received: SLURM jobs of an earlier run, "
            f"whose Snakemake was killed, are still queued or running: {listed(left)}. Cancel them "
            f"({cancel}), wait until squeue no longer shows them, and give the same command again: fits "
            "go on from their checkpoints. If they write to another folder of results, add --no-hooks."
        )
