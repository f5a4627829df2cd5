rule plot_results:
    input:
        target="<results>/{experiment}/target.h5",
        fit="<results>/{experiment}/fit.h5",
        best="<results>/{experiment}/best.h5",
        uncertainty="<results>/{experiment}/uncertainty.h5",
    output:
        # Beside these, figures/spikes.png where the recording has spikes, which only the recording tells.
        traces=report(
            "<results>/{experiment}/figures/traces.png",
            caption="../report/traces.rst",
            category="{experiment}",
            subcategory="Figures",
            labels={"figure": "Traces"},
        ),
        waterfall=report(
            "<results>/{experiment}/figures/waterfall.png",
            caption="../report/waterfall.rst",
            category="{experiment}",
            subcategory="Figures",
            labels={"figure": "Losses"},
        ),
        parameters=report(
            "<results>/{experiment}/figures/parameters.png",
            caption="../report/parameters.rst",
            category="{experiment}",
            subcategory="Figures",
            labels={"figure": "Parameters"},
        ),
        history=report(
            "<results>/{experiment}/figures/history.png",
            caption="../report/history.rst",
            category="{experiment}",
            subcategory="Figures",
            labels={"figure": "History"},
        ),
        details=report(
            "<results>/{experiment}/figures/details.png",
            caption="../report/details.rst",
            category="{experiment}",
            subcategory="Figures",
            labels={"figure": "Details"},
        ),
        uncertainty_figure=report(
            "<results>/{experiment}/figures/uncertainty.png",
            caption="../report/uncertainty.rst",
            category="{experiment}",
            subcategory="Figures",
            labels={"figure": "Uncertainty"},
        ),
        information=report(
            "<results>/{experiment}/figures/information.png",
            caption="../report/information.rst",
            category="{experiment}",
            subcategory="Figures",
            labels={"figure": "Information"},
        ),
        parameters_table=report(
            "<results>/{experiment}/tables/parameters.csv",
            caption="../report/parameters_table.rst",
            category="{experiment}",
            subcategory="Tables",
            labels={"table": "Parameters"},
        ),
        scores_table=report(
            "<results>/{experiment}/tables/scores.csv",
            caption="../report/scores_table.rst",
            category="{experiment}",
            subcategory="Tables",
            labels={"table": "Scores"},
        ),
        uncertainty_table=report(
            "<results>/{experiment}/tables/uncertainty.csv",
            caption="../report/uncertainty_table.rst",
            category="{experiment}",
            subcategory="Tables",
            labels={"table": "Uncertainty"},
        ),
    log:
        "<logs>/plot_results.log",
    benchmark:
        "<benchmarks>/plot_results.tsv"
    params:
        settings=settings("plot_results"),
        code=code("plot_results"),
    message:
        "{wildcards.experiment}: plots the results"
    script:
        "../scripts/plot_results.py"
