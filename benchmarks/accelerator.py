"""The same computations on the processor and on what accelerators there are: rates, and results compared.

Loss, gradient, normal equations and traces against the number of starts, and how far the results are from
those of the processor in float64. A process for the processor alone and one for each device; the latter takes
memory as it needs it. Without a device the processor alone is shown.
"""

import os
from functools import partial

import numpy as np
from contenders import by_odynn, make_target, odynn_problem
from measuring import (
    Contender,
    Worker,
    drawing,
    interleaved,
    machine,
    number,
    options,
    progress,
    publish,
    workers,
)

MODELS = {"hodgkinhuxley": "exponential_euler", "celegans": "implicit_euler"}
TASKS = ("traces", "loss", "gradient", "normal equations", "fit")
STARTS = (100, 1_000, 10_000)
ITERATIONS = 5  # of the fit whose losses are compared


def devices(cores: int) -> Contender:
    """Make a task that names the accelerators."""

    def names():
        import tensorflow as tf

        return [
            tf.config.experimental.get_device_details(device).get("device_name", device.name)
            for device in tf.config.list_physical_devices("GPU")
        ]

    return Contender({"names": names}, 0.0)


def on_device(cores: int, device: int | None, model: str, sets: int, precision: str) -> Contender:
    """Make all computations of a model, on a device or, for None, on the processor."""
    # Read when TensorFlow starts: what it does not see, it lays nothing out for.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1" if device is None else str(device)
    import tensorflow as tf

    from odynn.fitting.levenberg_marquardt import minimise

    solver = MODELS[model]
    shared = by_odynn(cores, model, solver, sets, precision=precision)
    target = make_target(model, solver)
    problem, u, base = odynn_problem(model, target, solver, sets, cores, precision=precision)

    def memory():
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return None, None
        growth = all(tf.config.experimental.get_memory_growth(gpu) for gpu in gpus)
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20, growth

    return Contender(
        {
            **shared.tasks,
            "normal equations": lambda: problem.normal_equations(u, base),
            "fit": lambda: minimise(problem, u, base, iterations=ITERATIONS, tolerance=0.0).loss,
            "memory": memory,
        },
        shared.work,
    )


def main() -> None:
    """Print the rates and the differences."""
    given = options(__doc__, largest=STARTS[-1], repetitions=3)
    with workers({"": partial(Worker, devices, 0)}) as found:
        names = found[""].run("names", wanted=True)[1]
    print(
        f"Processor: {machine()}. Accelerators: {', '.join(names) or 'none; the processor alone is shown'}."
    )
    chosen = {"processor": None, **{f"{name} ({place})": place for place, name in enumerate(names)}}
    rates, differences = [], []
    for model in MODELS:
        for sets in [starts for starts in STARTS if starts <= given.largest]:
            made = {
                name: partial(
                    Worker, on_device, 0, device=device, model=model, sets=sets, precision="float32"
                )
                for name, device in chosen.items()
            }
            if sets == STARTS[0]:
                made["float64"] = partial(
                    Worker, on_device, 0, device=None, model=model, sets=sets, precision="float64"
                )
            with workers(made) as found:
                _measure(given, model, sets, found, rates, differences)
    publish(
        given.output,
        "accelerator",
        f"Million neuron-steps/s (medians of {given.repetitions}), and peak memory of the device",
        ("model", "starts", "device", *TASKS[:4], "fit (s)", "memory (MiB)", "memory growth"),
        rates,
    )
    publish(
        given.output,
        "accelerator_results",
        "Relative differences from the processor in float64: median over starts / largest",
        ("model", "device", *TASKS),
        differences,
        note=f"fit: the loss after {ITERATIONS} iterations of Levenberg–Marquardt; differences may grow.",
    )
    with drawing(given.output, "accelerator", "starts", "million neuron-steps/s", "xy") as axes:
        for model in MODELS:
            for name in chosen:
                own = [row for row in rates if row[0] == model and row[2] == name]
                for place, style in ((4, "o-"), (5, "s--")):
                    axes.plot(
                        [int(row[1]) for row in own],
                        [row[place] for row in own],
                        style,
                        label=f"{model}, {name}, {TASKS[place - 3]}",
                    )


def _measure(given, model, sets, found, rates, differences) -> None:
    results = {}
    for name, worker in found.items():
        for task in TASKS:
            progress(f"{model}, {sets} starts, {name}: {task}, first run")
            wanted = sets == STARTS[0]
            results[name, task] = worker.run(task, wanted=wanted)[1]
    exact = found.pop("float64", None)
    runs = {
        (name, task): lambda worker=worker, task=task: worker.run(task)[0]
        for name, worker in found.items()
        for task in TASKS
    }
    seconds = {key: float(np.median(one)) for key, one in interleaved(runs, given.repetitions).items()}
    for name, worker in found.items():
        peak, growth = worker.run("memory", wanted=True)[1]
        growing = None if growth is None else "yes" if growth else "NO"
        each = [worker.work / seconds[name, task] / 1e6 for task in TASKS[:4]]
        rates.append([model, str(sets), name, *each, seconds[name, "fit"], peak, growing])
        if exact is not None:
            apart = [_apart(results[name, task], results["float64", task]) for task in TASKS]
            differences.append([model, name, *apart])
    if exact is not None:
        exact.stop()


def _apart(found, wanted) -> str:
    """Return the relative difference of each start's results, the median and the largest."""
    if isinstance(wanted, tuple):  # normal equations: those of JᵀJ say most
        found, wanted = found[0], wanted[0]
    rows = [np.reshape(np.asarray(one, float), (-1, np.shape(one)[-1])) for one in (found, wanted)]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        apart = np.linalg.norm(rows[0] - rows[1], axis=0) / np.linalg.norm(rows[1], axis=0)
    apart = apart[np.isfinite(apart)]
    if not apart.size:
        return "–"
    return f"{number(float(np.median(apart)), 2)} / {number(float(apart.max()), 2)}"


if __name__ == "__main__":
    main()
