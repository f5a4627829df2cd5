"""The command line: ``odynn check``, ``inspect``, ``models``, ``show``, ``reproduce`` and ``archive``.

The workflow does the work (``snakemake``); these commands look at what goes in and what came out.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from odynn import __version__, cli_archive, cli_reproduce
from odynn.errors import OdynnError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after ``odynn``; None for those of the process.

    Returns:
        Exit status: 0, or 1 after an error that the user can mend and for numbers that are not reproduced.
    """
    options = _parser().parse_args(arguments)
    shown = _Shown()
    logging.getLogger("odynn").addHandler(shown)
    try:
        return options.command(options) or 0
    except OdynnError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # a reader such as `head` has seen enough
    finally:
        logging.getLogger("odynn").removeHandler(shown)
    return 0


class _Shown(logging.Handler):
    """Writes each warning once, however many experiments share what it is about."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.said:
            self.said.add(text)
            sys.stderr.write(f"Warning: {text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="odynn",
        description="Fits biophysical neuron models to recorded traces. To run a fit, use snakemake.",
    )
    parser.add_argument("--version", action="version", version=f"odynn {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="check a configuration and say what it would run")
    check.add_argument("config", help="configuration file (YAML)")
    check.set_defaults(command=_check)

    inspect = commands.add_parser(
        "inspect", help="look at a recording before the fit, and draft its configuration"
    )
    inspect.add_argument(
        "file", help="a recording, as `file` of a target; or a configuration file that names one"
    )
    inspect.add_argument(
        "--experiment", metavar="NAME", help="which one of a configuration file with several"
    )
    inspect.add_argument("--figure", metavar="PATH", help="draw what was found (PNG)")
    inspect.add_argument("--area", type=float, metavar="µm²", help="membrane area, if it is known")
    inspect.add_argument("--format", default="auto", help="format of the file; by default its suffix tells")
    inspect.add_argument(
        "--interval", type=float, metavar="ms", help="time between samples of a file without times"
    )
    for key, example in (("columns", "V=voltage_mV_{sweep}"), ("units", "stimulus=pA")):
        text = f"as `{key}` of a target, such as {example}; once for each channel"
        inspect.add_argument(f"--{key}", action="append", metavar="CHANNEL=…", type=_pair, help=text)
    inspect.set_defaults(command=_inspect)

    models = commands.add_parser("models", help="list the models, or the parameters of one")
    models.add_argument("model", nargs="?", help="a name from the list, or path/to/file.py:ClassName")
    models.set_defaults(command=_models)

    show = commands.add_parser("show", help="summarise a fit.h5")
    show.add_argument("fit", help="a fit file, merged or of one shard")
    show.add_argument("--best", type=int, default=5, metavar="K", help="number of best starts (default 5)")
    show.set_defaults(command=_show)
    cli_reproduce.add_command(commands)
    cli_archive.add_command(commands)
    return parser


def _check(options: argparse.Namespace) -> None:
    from odynn import config

    checked = config.load(options.config)
    rows = []
    for name, settings in checked.experiments.items():
        target = settings["target"]
        rows.append(
            (
                name,
                settings["model"],
                _target(target),
                f"{settings['dt']:g}",
                str(settings["starts"]["number"]),
                str(len(checked.shards(name))),
                str(checked.results / name),
            )
        )
    write_table(("experiment", "model", "target", "dt (ms)", "starts", "shards", "results"), rows)


def _target(settings: dict) -> str:
    file = settings.get("file", "synthetic")
    return file if isinstance(file, str) else f"{file[0]} … ({len(file)} files)"


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"expected CHANNEL=…, such as V=voltage. Received: '{text}'")
    return key.strip(), value.strip()


def _inspect(options: argparse.Namespace) -> None:
    from odynn import cli_inspect, recordings

    found, target = cli_inspect.look(options)
    for table in cli_inspect.tables(found):
        write_table(*table)
    if options.figure:
        from odynn import plotting

        path = plotting.save(plotting.inspection(found), options.figure)
        sys.stdout.write(f"Figure: {path}\n")
    sys.stdout.write(cli_inspect.remarks(found))
    if target is not None:
        sys.stdout.write("\nTo fit it, with `odynn check` and then snakemake:\n\n")
        sys.stdout.write(recordings.suggest_config(found, target))


def _models(options: argparse.Namespace) -> None:
    from odynn.models import MODEL_PATHS, load_model

    if options.model is None:
        rows = []
        for name in MODEL_PATHS:
            model = load_model(name)
            meaning = (model.__doc__ or "").strip().partition("\n")[0]
            rows.append((name, str(len(model.parameter_names)), ", ".join(model.states), meaning))
        write_table(("model", "parameters", "states", ""), rows)
        return
    model = load_model(options.model)
    rows = [
        (
            row.name,
            f"{row.default:g}",
            row.unit,
            f"{row.bounds[0]:g} … {row.bounds[1]:g}",
            f"{row.start[0]:g} … {row.start[1]:g}",
            row.scale if row.free else "fixed",
            row.meaning,
        )
        for row in model.table().values()
    ]
    write_table(("parameter", "default", "unit", "bounds", "random starts", "scale", "meaning"), rows)


def _show(options: argparse.Namespace) -> None:
    from collections import Counter

    from odynn.analysis.ranking import ranked
    from odynn.data import Status
    from odynn.storage import read_fit

    fit = ranked(read_fit(options.fit))
    counts = Counter(Status(status).name.lower().replace("_", " ") for status in fit.status)
    ends = ", ".join(f"{count} {name}" for name, count in counts.items())
    sys.stdout.write(f"{len(fit.ids)} starts: {ends}\n")
    number = min(options.best, len(fit.ids))
    headings = ["parameter", "unit", *(f"start {start}" for start in fit.ids[:number])]
    rows = [("loss", fit.units.get("loss", "1"), *_numbers(fit.loss[:number]))]
    if len(fit.loss_parts) > 1:
        for name, column in fit.loss_parts.items():
            rows.append((f"loss, {name}", fit.units.get("loss", "1"), *_numbers(column[:number])))
    for title, errors in (("training", fit.rmse_train), ("held-out", fit.rmse_test)):
        for state, column in errors.items():
            rows.append((f"RMSE {state}, {title}", fit.units[state], *_numbers(column[:number])))
    for name, row in fit.parameters.items():
        held = f" (as {row.follows})" if row.follows else "" if row.free else " (fixed)"
        rows.append((f"{name}{held}", row.unit, *_numbers(fit.values[name][:number])))
    write_table(headings, rows)


def _numbers(values) -> list[str]:
    return [f"{value:.4g}" for value in values]


def write_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, as wide as the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # Into a pipe or a file a table is as wide as it needs to be.
    width = None if sys.stdout.isatty() else 10 + max(len(line) for line in _widest(headings, rows))
    Console(markup=False, highlight=False, width=width).print(table)


def _widest(headings, rows) -> list[str]:
    columns = zip(headings, *rows, strict=True)
    return ["   ".join(max(column, key=len) for column in columns)]


if __name__ == "__main__":
    sys.exit(main())
