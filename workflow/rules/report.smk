rule report:
    input:
        **dict(rules.plot_results.output.items()),
        target="<results>/{experiment}/target.h5",
        fit="<results>/{experiment}/fit.h5",
        best="<results>/{experiment}/best.h5",
        uncertainty="<results>/{experiment}/uncertainty.h5",
    output:
        report(
            "<results>/{experiment}/report.html",
            caption="../report/report.rst",
            category="{experiment}",
            subcategory="Report",
            labels={"page": "Report"},
        ),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    params:
        settings=settings("report"),
        code=code("report"),
    message:
        "{wildcards.experiment}: writes the report {output}"
    script:
        "../scripts/report.py"
