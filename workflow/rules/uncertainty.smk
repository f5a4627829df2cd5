rule uncertainty:
    input:
        target="<results>/{experiment}/target.h5",
        fit="<results>/{experiment}/fit.h5",
    output:
        "<results>/{experiment}/uncertainty.h5",
    log:
        "<logs>/uncertainty.log",
    benchmark:
        "<benchmarks>/uncertainty.tsv"
    threads: 1
    params:
        settings=settings("uncertainty"),
        code=code("uncertainty"),
    message:
        "{wildcards.experiment}: tells how well the data determine the parameters"
    script:
        "../scripts/uncertainty.py"
