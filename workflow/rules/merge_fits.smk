rule merge_fits:
    input:
        fits=fits,
    output:
        fit="<results>/{experiment}/fit.h5",
        table="<results>/{experiment}/fit.csv",
    log:
        "<logs>/merge_fits.log",
    benchmark:
        "<benchmarks>/merge_fits.tsv"
    params:
        settings=settings("merge_fits"),
        code=code("merge_fits"),
    message:
        "{wildcards.experiment}: ranks the fits"
    script:
        "../scripts/merge_fits.py"
