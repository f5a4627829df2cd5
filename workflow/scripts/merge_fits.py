"""Merge the fitted shards of an experiment, best start first."""

from odynn import stages

with stages.job(snakemake.log[0]):
    stages.merge_fits(
        settings=snakemake.params.settings,
        fits=list(snakemake.input.fits),
        output=snakemake.output.fit,
        table=snakemake.output.table,
    )
