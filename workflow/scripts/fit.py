"""Fit a shard of starts."""

from odynn import stages

with stages.job(snakemake.log[0]):
    stages.fit(
        settings=snakemake.params.settings,
        target=snakemake.input.target,
        starts=snakemake.input.starts,
        simulated=snakemake.input.simulated,
        shard=snakemake.wildcards.shard,
        output=snakemake.output[0],
        threads=snakemake.threads,
    )
