"""Simulate the best fits on every sweep."""

from odynn import stages

with stages.job(snakemake.log[0]):
    stages.simulate_best(
        settings=snakemake.params.settings,
        target=snakemake.input.target,
        fit=snakemake.input.fit,
        output=snakemake.output[0],
        threads=snakemake.threads,
    )
