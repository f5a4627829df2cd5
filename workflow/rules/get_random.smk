# A shard of starts is drawn by itself, each start by its number and the seed: more starts are new files, and nothing
# that was made from the old ones is out of date. (One file of all starts, `ancient` for its readers, is not the same:
# when it is made anew, Snakemake 9.27 passes over the new shards until the next call.)
rule get_random:
    input:
        target=regressed,
    output:
        "<results>/{experiment}/starts/{shard}.h5",
    log:
        "<logs>/get_random/{shard}.log",
    benchmark:
        "<benchmarks>/get_random/{shard}.tsv"
    params:
        settings=settings("get_random"),
        code=code("get_random"),
    message:
        "{wildcards.experiment}: draws the starts {wildcards.shard}"
    script:
        "../scripts/get_random.py"
