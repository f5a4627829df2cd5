"""Make the target of an experiment."""

from odynn import stages

with stages.job(snakemake.log[0]):
    stages.make_target(
        settings=snakemake.params.settings,
        output=snakemake.output[0],
        fetched=list(snakemake.input),
    )
