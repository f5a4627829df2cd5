"""Tell how well the data determine the parameters."""

from odynn import stages

with stages.job(snakemake.log[0]):
    stages.uncertainty(
        settings=snakemake.params.settings,
        target=snakemake.input.target,
        fit=snakemake.input.fit,
        output=snakemake.output[0],
        threads=snakemake.threads,
    )
