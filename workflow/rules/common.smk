"""The validated configuration, and how the rules read it."""

import atexit
import sys
from pathlib import Path
from shlex import quote

from odynn import recordings
from odynn.config import from_mapping
from odynn.config.reading import read_yaml
from odynn.errors import OdynnError
from odynn.provenance import code_fingerprint, own_losses
from odynn.safeguards import Ownership, settle_times
from odynn.slurm import refuse_left_over_jobs

# After a Snakemake that was killed, the same command goes on: its locks do not stop this one.
if workflow.is_main_process:
    OWNERSHIP = Ownership(".snakemake/locks")
    atexit.register(OWNERSHIP.end)
    for sentence in OWNERSHIP.sentences():
        logger.info(sentence)

# Snakemake 9.27 puts this path into shell commands as it stands: without quotes no folder may have a space in its name.
sys.executable = quote(sys.executable)

# Files named in the configuration are relative to the (last) file that says so.
CONFIG_FILE = Path(workflow.configfiles[-1])
if CONFIG_FILE.is_relative_to(Path.cwd()):
    CONFIG_FILE = CONFIG_FILE.relative_to(Path.cwd())

# SystemExit ends Snakemake with the message alone; any other exception adds a traceback of this file.
try:
    for path in workflow.configfiles:
        read_yaml(path)  # Snakemake has read it too, but lets pass a key that is given twice
    SETTINGS = from_mapping(
        config,
        folder=CONFIG_FILE.parent,
        name=str(CONFIG_FILE),
        check_recordings=workflow.is_main_process,  # a job's main process has done it
    )
except OdynnError as error:
    raise SystemExit(f"Error: {error}") from None

EXPERIMENTS = list(SETTINGS.experiments)


onstart:
    if workflow.is_main_process:
        settle_times(SETTINGS.results / experiment for experiment in EXPERIMENTS)


pathvars:
    results=str(SETTINGS.results),
    logs="<results>/{experiment}/logs",
    benchmarks="<results>/{experiment}/benchmarks",


wildcard_constraints:
    experiment=r"[A-Za-z0-9_-]+",
    shard=r"\d{6,9}-\d{6,9}",


def settings(stage):
    """Return the params function of the settings that a stage reads, so that no others rerun it."""
    return lambda wildcards: SETTINGS.settings(wildcards.experiment, stage)


def code(stage):
    """Return the params function of the code that a stage runs; Snakemake does not see edits in a package."""

    def fingerprint(wildcards):
        model = SETTINGS.experiments[wildcards.experiment]["model"]
        return code_fingerprint(stage, model, own_losses(SETTINGS.settings(wildcards.experiment, stage)))

    return fingerprint


def recording(wildcards):
    """Return the files of an experiment's recording; none where the target is synthetic.

    What has an address is fetched once, into .snakemake/storage.
    """
    files = recordings.files_of(SETTINGS.experiments[wildcards.experiment]["target"])
    return [storage(file, keep_local=True) if "://" in file else file for file in files]


def regressed(wildcards):
    """Return the target of an experiment whose starts are regressed on it; none where they are only drawn."""
    starts = SETTINGS.experiments[wildcards.experiment]["starts"]
    return expand("<results>/{experiment}/target.h5", **wildcards)[0] if starts["regression"] else []


def fits(wildcards):
    """Return the fitted shards of an experiment."""
    return expand(
        "<results>/{experiment}/fits/{shard}.h5", shard=SETTINGS.shards(wildcards.experiment), **wildcards
    )


def check_the_queue():
    """Stop this run where SLURM still has jobs of an earlier one, whose Snakemake was killed."""
    # As the executor describes a job in its comment.
    names = {
        f"rule_{job.rule.name}_wildcards_{'_'.join(job.wildcards)}" for job in workflow.dag.needrun_jobs()
    }
    try:
        refuse_left_over_jobs(Path.cwd(), names)
    except OdynnError as error:
        raise SystemExit(f"Error: {error}") from None
