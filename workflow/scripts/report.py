"""Write the report of an experiment."""

from pathlib import Path

from odynn import stages

with stages.job(snakemake.log[0]):
    stages.report(
        settings=snakemake.params.settings,
        target=snakemake.input.target,
        fit=snakemake.input.fit,
        best=snakemake.input.best,
        uncertainty=snakemake.input.uncertainty,
        figures=Path(snakemake.input.traces).parent,
        tables=Path(snakemake.input.scores_table).parent,
        output=snakemake.output[0],
    )
