"""Plot and tabulate the results of an experiment."""

from pathlib import Path

from odynn import stages

with stages.job(snakemake.log[0]):
    stages.plot_results(
        settings=snakemake.params.settings,
        target=snakemake.input.target,
        fit=snakemake.input.fit,
        best=snakemake.input.best,
        uncertainty=snakemake.input.uncertainty,
        figures=Path(snakemake.output.traces).parent,
        tables=Path(snakemake.output.scores_table).parent,
    )
