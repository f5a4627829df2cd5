rule fit:
    input:
        target="<results>/{experiment}/target.h5",
        starts="<results>/{experiment}/starts/{shard}.h5",
        simulated="<results>/{experiment}/simulated/{shard}.h5",
    output:
        "<results>/{experiment}/fits/{shard}.h5",
    log:
        "<logs>/fit/{shard}.log",
    benchmark:
        "<benchmarks>/fit/{shard}.tsv"
    threads: 1
    params:
        settings=settings("fit"),
        code=code("fit"),
    message:
        "{wildcards.experiment}: fits the starts {wildcards.shard}"
    script:
        "../scripts/fit.py"
