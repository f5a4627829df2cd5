"""What the report says beside its figures and on top: descriptions, numbers, captions."""

import numpy as np

from odynn.data import Best, Fit, Target
from odynn.plotting.spelling import measure, score, short
from odynn.plotting.summary import Summary, spikes_said


def described(target: Target) -> str:
    """Return one line on what was fitted."""
    count, train = len(target.sweeps), int(np.sum(target.train))
    what = "a simulated target with known parameters" if target.truth is not None else "a recording"
    span = float(target.time[-1] - target.time[0]) + target.dt if len(target.time) > 1 else 0.0
    length = f"{short(span / 1000)} s" if span >= 10_000 else f"{short(span, 4)} ms"
    sweeps = f"{count} sweep{'s' if count != 1 else ''} of {length}"
    return f"Fitted to {what}: {sweeps}, {train} for training and {count - train} held out."


def tiles(summary: Summary, target: Target, loss_unit: str) -> list[tuple[str, str, str]]:
    """Return (label, value, note) of the numbers on top."""
    found = []
    held = summary.held_out or summary.training
    where = "held-out" if summary.held_out else "training"
    for state, result in held.items():
        unit = target.units.get(state, "1")
        name = "" if list(held) == ["V"] else f" of {state}"
        worst = ""
        if summary.held_out and state in summary.worst and np.sum(~np.asarray(target.train, dtype=bool)) > 1:
            sweep, r2 = summary.worst[state]
            worst = f"worst: sweep {sweep}, {score(r2)}"
        found.append((f"R²{name}, {where} sweeps", score(result.r2), worst))
        other = summary.training.get(state) if summary.held_out else None
        note = f"training: {measure(other.rmse, unit)}" if other else ""
        found.append((f"RMSE{name}, {where} sweeps", measure(result.rmse, unit), note))
    if where in summary.spikes:
        spikes = summary.spikes[where]
        timing = f"mean Γ {spikes.gamma:.2f}".replace("-", "−") if np.isfinite(spikes.gamma) else ""
        found.append((f"Spike counts within ±1, {where}", f"{spikes.within_one} of {spikes.sweeps}", timing))
    near = f"{summary.near} within 10 % of the best loss" if summary.near else "none with a finite loss"
    found.append(("Starts", str(summary.starts), near))
    floor = f"noise floor: {measure(summary.floor, loss_unit)}" if summary.floor is not None else ""
    found.append(("Best loss", measure(summary.loss, loss_unit), floor))
    free = sum(len(names) for names in summary.groups.values())
    if free:
        judged = free - len(summary.groups.get("not judged", ()))
        value = str(len(summary.groups.get("undetermined", ()))) if judged else "–"
        note = f"of {free} free" if judged else f"of {free} free; too few equally good starts to judge"
        found.append(("Undetermined parameters", value, note))
    return found


def alternative(name: str, summary: Summary, target: Target, fit: Fit) -> str:
    """Return what a figure shows, for those who cannot see it."""
    train = int(np.sum(target.train))
    words = {"V": "voltage", "I": "current"}
    states = " and ".join(words.get(state, state) for state in target.observed)
    statuses = ", ".join(f"{count} {status}" for status, count in summary.statuses)
    free = sum(len(names) for names in summary.groups.values())
    known = {
        "traces": f"Traces of {states} with the best fits on top: {train} training sweeps and "
        f"{len(target.sweeps) - train} held-out sweeps, the stimulus below each. {summary.headline}",
        "spikes": "Times of the recorded spikes and of those of the best fits, a row a sweep"
        + "".join(f"; {spikes_said(kind, found)}" for kind, found in summary.spikes.items())
        + ".",
        "waterfall": f"Final loss of {summary.starts} starts in order of rank on a logarithmic axis. "
        f"By status: {statuses}. Lowest loss {short(summary.loss)}.",
        "parameters": f"Position of {free} free parameters between their bounds, for all starts; the numbers "
        "are in the table that follows.",
        "history": f"Loss of {summary.starts} starts over {len(fit.stage)} iterations in "
        f"{len(np.unique(fit.stage))} stages.",
        "details": "Voltage, concentrations, gates, currents and stimulus over time, for the best start on "
        "one sweep.",
        "uncertainty": f"95 % intervals of {free} free parameters between their bounds, and the verdict on "
        "each; the numbers are in the table that follows.",
        "information": "Eigenvalues of the Fisher information on a logarithmic axis, the parameters that its "
        "first and last direction consist of, and the correlations between the estimates as a matrix.",
    }
    return known.get(name, f"Figure {name}")


def captions(fit: Fit, target: Target, best: Best, summary: Summary) -> dict[str, str]:
    """Return what a reader needs to know to read each figure."""
    others = f" Thinner lines: the next {len(best.ids) - 1} starts." if len(best.ids) > 1 else ""
    floor = (
        " The dashed line is the loss that the noise alone causes: nothing but overfitting goes far below it."
        if summary.floor is not None
        else ""
    )
    nudged = (
        " A stage may pull the simulation towards the recording, so that losses of different stages are not "
        "comparable; all scores in this report come from free runs."
        if len(np.unique(fit.stage)) > 1
        else ""
    )
    counted = (
        " Where there are spikes, their number in the best fit and in the recording, and the coincidence "
        "factor Γ come first, and what there is no room for is in the tables."
        if summary.spikes
        else ""
    )
    sweep = next(
        (
            f"held-out sweep {number}"
            for number, seen in zip(target.sweeps, target.train, strict=True)
            if not seen
        ),
        f"sweep {target.sweeps[0]}",
    )
    return {
        "traces": f"Each sweep with the best fit on top and the stimulus below.{others} RMSE and R² are "
        "those of the best fit on that sweep; R² compares it with a flat line at the mean of the sweep, so a "
        f"sweep with little in it has a low one.{counted}",
        "spikes": "Each sweep is a row: the recorded spikes above, those of the best fits below. On the "
        "right, the number of spikes of the best fit and of the recording, and the coincidence factor Γ: 1 "
        "where each spike has a counterpart within ±4 ms, 0 where no more do than by chance.",
        "waterfall": "Final training loss of every start, best first. A flat stretch on the left means that "
        f"many starts found the same quality of fit.{floor}",
        "parameters": "Each parameter between its bounds. Many dark dots at one place: the data determine "
        "it. Dark dots all over: they do not, and other parameters make up for it.",
        "history": f"Loss after each iteration; a line ends where its start stopped.{nudged}",
        "details": f"What the best fit does inside, on {sweep}. Outward currents are positive.",
        "uncertainty": "Each parameter between its bounds, on its own scale. The bar is the best value with "
        "1.96 standard errors on either side, allowing for correlated residuals; the line below it 1.96 "
        "standard deviations among the starts that fit equally well. By the longer of the two: determined, "
        "if it takes at most a tenth of the bounds and one error is at most a tenth of the value (where the "
        "bounds do not change sign); weakly determined, up to a half; else not determined. Standard errors "
        "are linear theory: where the bar fills its bounds, it says no more than that. Profiles, if there "
        "are any, hold one parameter and fit all others again; the 95 % interval is where they are below the "
        "dashed line.",
        "information": "Directions in the space of parameters, each scaled by its bounds, from the best "
        "determined to the least: the eigenvalue is one over the squared standard error along it. Parameters "
        "with large components in the last direction make up for each other, or do nothing. Below: which "
        "estimates go up and down together.",
    }
