rule simulate_best:
    input:
        target="<results>/{experiment}/target.h5",
        fit="<results>/{experiment}/fit.h5",
    output:
        "<results>/{experiment}/best.h5",
    log:
        "<logs>/simulate_best.log",
    benchmark:
        "<benchmarks>/simulate_best.tsv"
    threads: 1
    params:
        settings=settings("simulate_best"),
        code=code("simulate_best"),
    message:
        "{wildcards.experiment}: simulates the best fits"
    script:
        "../scripts/simulate_best.py"
