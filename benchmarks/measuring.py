"""What the measurements of speed share: contenders in processes of their own, tables, CSV files, figures.

Every contender lives in a process of its own with a set number of cores, made ready before anything is timed:
none finds threads, caches or settings that another left. Runs are interleaved, so that whatever else the
machine does falls on all alike, and medians are compared.
"""

import argparse
import csv
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# Threads of C that wait without computing: other contenders run in the meantime.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Contender:
    """A way of computing something, ready to run.

    Attributes:
        tasks: name to a function that does all of it and returns what came out, as arrays.
        work: neuron-steps of one run of any task; of each case by name, where they differ.
    """

    tasks: Mapping[str, Callable[[], object]]
    work: float | Mapping[str, float]


def options(description: str, **defaults: int) -> argparse.Namespace:
    """Read the command line: the folder for CSV files and figures, and whole numbers with their defaults."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=FOLDER / "results", help="folder for tables and figures"
    )
    for name, default in defaults.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}"
        )
    return parser.parse_args()


def available_cores() -> list[int]:
    """Return the cores that this process may use; by number where the system can pin to them."""
    return sorted(os.sched_getaffinity(0)) if pins() else list(range(os.cpu_count() or 1))


def pins() -> bool:
    """Return whether a process can be held to some of the cores."""
    return hasattr(os, "sched_setaffinity")


def machine() -> str:
    """Return what the tables were made on."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    vectors = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    words = [named[0] if named else model, vectors.upper(), f"{len(available_cores())} cores in use"]
    return ", ".join(word for word in words if word)


class Worker:
    """A contender in a process of its own."""

    def __init__(self, factory: Callable[..., Contender], cores: int, **arguments):
        """Start the process; ``ready`` says when it can run.

        Args:
            factory: a module's own function of ``cores`` and the other arguments.
            cores: how many the process may use; 0: all, and no pinning.
            **arguments: for the factory.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, factory, cores, arguments), daemon=True)
        self._process.start()
        other.close()

    def ready(self) -> "Worker":
        """Wait until the contender is made; set ``work`` and ``tasks``."""
        self.work, self.tasks = self._receive()
        return self

    def run(self, task: str, wanted: bool = False) -> tuple[float, object]:
        """Run a task once; return the seconds it took, and what came out if that is wanted."""
        self._connection.send((task, wanted))
        return self._receive()

    def stop(self) -> None:
        """End the process."""
        with suppress(OSError):  # it may have ended by itself, with a message
            self._connection.send(None)
        self._process.join()

    def _receive(self):
        try:
            received = self._connection.recv()
        except EOFError:
            raise SystemExit("A contender's process ended before its time; its message is above.") from None
        return received


def _serve(connection, factory, cores, arguments) -> None:
    chosen = available_cores()[: cores or None]
    if pins():
        os.sched_setaffinity(0, chosen)
    contender = factory(cores=len(chosen), **arguments)
    connection.send((contender.work, tuple(contender.tasks)))
    while (message := connection.recv()) is not None:
        task, wanted = message
        began = time.perf_counter()
        found = contender.tasks[task]()
        seconds = time.perf_counter() - began
        connection.send((seconds, found if wanted else None))


@contextmanager
def workers(made: Mapping[str, Callable[[], Worker]]) -> Iterator[dict[str, Worker]]:
    """Give the workers by name, each ready, and end their processes after use."""
    found: dict[str, Worker] = {}
    try:
        for name, make in made.items():
            found[name] = make()
        progress("contenders: getting ready")
        for worker in found.values():
            worker.ready()
        yield found
    finally:
        for worker in found.values():
            worker.stop()


def interleaved(runs: Mapping[object, Callable[[], float]], repetitions: int) -> dict[object, list[float]]:
    """Time every run once, then all of them again, and so on; return the seconds of each."""
    seconds: dict[object, list[float]] = {key: [] for key in runs}
    for round_ in range(repetitions):
        progress(f"round {round_ + 1} of {repetitions}")
        for key, run in runs.items():
            seconds[key].append(run())
    return seconds


def timed(function: Callable[..., object], *arguments) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def progress(text: str) -> None:
    """Say on stderr how far a benchmark is: its tables come at the end."""
    print(text, file=sys.stderr, flush=True)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits, or a dash for none."""
    return "–" if value is None or not np.isfinite(value) else f"{float(f'{value:.{digits}g}'):g}"


def publish(
    output: Path,
    name: str,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    reach: Sequence[str] = (),
    note: str = "",
) -> None:
    """Print a table, and write it as CSV into a folder.

    Args:
        output: the folder.
        name: of the file, without its suffix.
        title: above the printed table.
        headings: of the columns.
        rows: words and numbers; None where there is nothing to say.
        reach: what is to be reached, for each column but the first; printed alone.
        note: below the printed table.
    """
    output.mkdir(parents=True, exist_ok=True)
    with (output / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(headings)
        writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    words = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    lines = [list(headings), *words, *([["to reach", *reach]] if any(reach) else [])]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headings))]
    print(f"\n{title}")
    for line in lines:
        first, *others = (cell.ljust if not place else cell.rjust for place, cell in enumerate(line))
        cells = [first(widths[0]), *(just(width) for just, width in zip(others, widths[1:], strict=True))]
        print("  ".join(cells).rstrip())
    if note:
        print(note)
    sys.stdout.flush()


@contextmanager
def drawing(output: Path, name: str, x: str, y: str, log: str = "") -> Iterator[object]:
    """Give axes to draw on, with labels; the figure is written into the folder after use.

    Args:
        output: the folder.
        name: of the file, without its suffix.
        x: label.
        y: label.
        log: the axes with a logarithmic scale, of "xy".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    yield axes
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / f"{name}.png", dpi=150)
