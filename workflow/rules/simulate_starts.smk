rule simulate_starts:
    input:
        target="<results>/{experiment}/target.h5",
        starts="<results>/{experiment}/starts/{shard}.h5",
    output:
        "<results>/{experiment}/simulated/{shard}.h5",
    log:
        "<logs>/simulate_starts/{shard}.log",
    benchmark:
        "<benchmarks>/simulate_starts/{shard}.tsv"
    threads: 1
    params:
        settings=settings("simulate_starts"),
        code=code("simulate_starts"),
    message:
        "{wildcards.experiment}: simulates the starts {wildcards.shard}"
    script:
        "../scripts/simulate_starts.py"
