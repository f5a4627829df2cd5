rule make_target:
    input:
        recording=recording,
    output:
        "<results>/{experiment}/target.h5",
    log:
        "<logs>/make_target.log",
    benchmark:
        "<benchmarks>/make_target.tsv"
    params:
        settings=settings("make_target"),
        code=code("make_target"),
    message:
        "{wildcards.experiment}: makes the target"
    script:
        "../scripts/make_target.py"
