"""Draw a shard of random starts."""

from odynn import stages

with stages.job(snakemake.log[0]):
    stages.get_random(
        settings=snakemake.params.settings,
        shard=snakemake.wildcards.shard,
        output=snakemake.output[0],
        target=snakemake.input.get("target"),
    )
