"""The validated configuration, and how the rules read it."""

import atexit
import sys
from functools import cache
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


pathvars:
    results=str(SETTINGS.results),
    logs="<results>/{experiment}/logs",
    benchmarks="<results>/{experiment}/benchmarks",


wildcard_constraints:
    experiment=r"[A-Za-z0-9_-]+",
    shard=r"\d{6,9}-\d{6,9}",


# Every job asks for its settings and its code: they are looked up once an experiment, not once a shard. Code that is
# edited while Snakemake runs is recorded as it was when Snakemake began, so that the next call runs its jobs again.
read_settings = cache(SETTINGS.settings)
read_code = cache(code_fingerprint)


def settings(stage):
    """Return the params function of the settings that a stage reads, so that no others rerun it."""
    return lambda wildcards: read_settings(wildcards.experiment, stage)


def code(stage):
    """Return the params function of the code that a stage runs; Snakemake does not see edits in a package."""

    def fingerprint(wildcards):
        read = read_settings(wildcards.experiment, stage)
        model = SETTINGS.experiments[wildcards.experiment]["model"]
        return read_code(stage, model, tuple(own_losses(read)))

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


def settle_the_clock():
    """Give results that are from the future the present time: each job that reads one would fail."""
    if workflow.is_main_process:
        settle_times(SETTINGS.results / experiment for experiment in EXPERIMENTS)
