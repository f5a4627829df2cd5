"""What a fit shows, in words and a few numbers, computed from its results."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from odynn.data import Best, Fit, Status, Target
from odynn.plotting import measures
from odynn.plotting.appearance import STATUS
from odynn.plotting.measures import Score, SpikeScore
from odynn.plotting.spelling import measure, score, short

# A mean coincidence factor from which on a model is said to spike at the right times.
_COINCIDENT = 0.5
# The best value of a parameter this near to the truth, relatively, has found it.
_RECOVERED = 0.05
_NAMES = {"V": "the voltage", "Ca": "the calcium", "I": "the current"}


@dataclass(frozen=True)
class Warned:
    """Something that a reader must know before believing a fit.

    Attributes:
        title: what is the matter.
        text: what follows from it, and what to do.
    """

    title: str
    text: str


@dataclass(frozen=True)
class Summary:
    """The results of an experiment in short.

    Attributes:
        starts: number of starts.
        statuses: (name, count) of each status that occurs, the good ones first.
        near: number of starts whose loss is within 10 % of the best.
        best: number of the best start; None if all diverged.
        loss: its loss.
        floor: the loss that noise alone causes, if known.
        held_out: observed state to the score of the best start over all held-out sweeps.
        training: the same over the training sweeps.
        worst: observed state to (number, R²) of the held-out sweep that the best start follows least.
        spikes: "training" and "held-out" to how well the best start reproduces the spikes of those
            sweeps; empty where the recording has none.
        groups: verdict to the names of free parameters; "not judged" where too few starts agree.
        at_bounds: free parameters whose best value lies at a bound.
        headline: the result in one or two sentences.
        findings: what the data determine and what they do not, a sentence or two each.
        warnings: what to know before believing any of it.
    """

    starts: int
    statuses: tuple[tuple[str, int], ...]
    near: int
    best: int | None
    loss: float
    floor: float | None
    held_out: Mapping[str, Score]
    training: Mapping[str, Score]
    worst: Mapping[str, tuple[int, float]]
    spikes: Mapping[str, SpikeScore]
    groups: Mapping[str, tuple[str, ...]]
    at_bounds: tuple[str, ...]
    headline: str
    findings: tuple[str, ...]
    warnings: tuple[Warned, ...]


def summarise(
    target: Target,
    fit: Fit,
    best: Best,
    weights: Mapping[str, float] | None = None,
) -> Summary:
    """Return what a fit shows.

    Args:
        target: the recorded traces.
        fit: all starts of an experiment.
        best: simulations of the best starts.
        weights: weight of each state in the loss; None: as the losses of the fit tell.

    Returns:
        The summary.
    """
    train = np.asarray(target.train, dtype=bool)
    order = measures.ranking(fit)
    any_good = bool(measures.usable(fit).any())
    near = len(measures.equally_good(fit))
    held_out, training = _pooled(target, best, ~train), _pooled(target, best, train)
    spikes = {
        name: found
        for name, sweeps in (("training", train), ("held-out", ~train))
        if (found := measures.spike_score(target, best, sweeps)) is not None
    }
    groups: dict[str, list[str]] = {}
    for name, (_, verdict) in measures.verdicts(fit).items():
        groups.setdefault(verdict, []).append(name)
    codes = np.asarray(fit.status)
    statuses = tuple(
        (name, int((codes == code).sum())) for code, (name, _, _) in STATUS.items() if (codes == code).any()
    )
    at_bounds = tuple(measures.at_bounds(fit))
    return Summary(
        starts=len(fit.ids),
        statuses=statuses,
        near=near,
        best=int(fit.ids[order[0]]) if any_good else None,
        loss=float(fit.loss[order[0]]) if any_good else np.nan,
        floor=measures.noise_floor(fit, target, weights),
        held_out=held_out,
        training=training,
        worst=_worst(target, best, ~train),
        spikes=spikes,
        groups={verdict: tuple(names) for verdict, names in groups.items()},
        at_bounds=at_bounds,
        headline=_headline(target, fit, held_out, training, spikes, near, any_good),
        findings=tuple(
            _findings(target, fit, held_out or training, spikes, groups, at_bounds, near, any_good)
        ),
        warnings=tuple(_warnings(target, fit, best, held_out, training, spikes, any_good)),
    )


def _pooled(target: Target, best: Best, sweeps: np.ndarray) -> dict[str, Score]:
    scores = {state: measures.pooled_score(target, best, state, sweeps) for state in target.observed}
    return {state: found for state, found in scores.items() if found is not None}


def _worst(target: Target, best: Best, sweeps: np.ndarray) -> dict[str, tuple[int, float]]:
    worst = {}
    for state in target.observed:
        found = []
        for place in np.flatnonzero(sweeps):
            result = measures.pooled_score(target, best, state, np.arange(len(sweeps)) == place)
            if result is not None and np.isfinite(result.r2):
                found.append((result.r2, int(target.sweeps[place])))
        if found:
            r2, sweep = min(found)
            worst[state] = (sweep, r2)
    return worst


def spelt(score_found: Score, unit: str) -> str:
    """Return a score in words, such as "R² 0.996 (RMSE 2.34 mV)"."""
    return f"R² {score(score_found.r2)} (RMSE {measure(score_found.rmse, unit)})"


def spikes_said(kind: str, found: SpikeScore) -> str:
    """Return a score of spikes in words.

    >>> spikes_said("held-out", SpikeScore(5, 4, 20, 19, 0.62))
    'held-out: spike counts within ±1 in 4 of 5 sweeps, mean Γ 0.62'
    """
    timing = f", mean Γ {found.gamma:.2f}".replace("-", "−") if np.isfinite(found.gamma) else ""
    counts = f"{found.within_one} of {found.sweeps} sweep{'s' if found.sweeps != 1 else ''}"
    return f"{kind}: spike counts within ±1 in {counts}{timing}"


def _headline(target, fit, held_out, training, spikes, near, any_good) -> str:
    if not any_good:
        return f"None of the {len(fit.ids)} starts ended with a finite loss. There is no fit to report."
    scores, where = (
        (held_out, "sweeps it never saw") if held_out else (training, "the sweeps it was fitted to")
    )
    parts, verb = [], ""
    for state, found in scores.items():
        before, verb = verb, "misses" if not np.isfinite(found.rmse) or found.r2 < 0 else "follows"
        words = f"{_NAMES.get(state, state)} with {spelt(found, target.units.get(state, '1'))}"
        parts.append(words if verb == before else f"{verb} {words}")
    first = f"The best fit {' and '.join(parts)} on {where}." if parts else "The best fit was found."
    seen = spikes.get("held-out" if held_out else "training")
    if seen is not None and seen.recorded:
        timing = f", with Γ {seen.gamma:.2f} on average".replace("-", "−") if np.isfinite(seen.gamma) else ""
        first += f" Its spike counts are within ±1 on {seen.within_one} of the {seen.sweeps} sweeps{timing}."
    count = len(fit.ids)
    if count == 1:
        return f"{first} It is the only start."
    others = "No other start" if near == 1 else f"{near} of {count} starts, the best included,"
    return f"{first} {others} came within 10 % of its loss."


def _findings(target, fit, scores, spikes, groups, at_bounds, near, any_good) -> list[str]:
    if not any_good:
        return []
    said = []
    if spikes:
        verdicts = "; ".join(spikes_said(kind, found) for kind, found in reversed(spikes.items()))
        said.append(f"{verdicts[0].upper()}{verdicts[1:]}.")
    for state, found in scores.items():
        noise = (target.noise or {}).get(state)
        if noise and np.isfinite(found.rmse):
            unit = target.units.get(state, "1")
            ratio = found.rmse / noise
            means = "as good as the noise allows" if ratio <= 1.1 else f"{ratio:.1f} times the noise"
            said.append(
                f"{_NAMES.get(state, state).capitalize()} carries noise of {measure(noise, unit)}; "
                f"the error of {measure(found.rmse, unit)} is {means}."
            )
    free = sum(len(names) for names in groups.values())
    if not free:
        said.append("Every parameter was held fixed.")
    elif near < measures.ENOUGH:
        reached = "Only the best start" if near == 1 else f"Only {near} starts"
        said.append(
            f"{reached} reached a loss within 10 % of the best: too few to judge which parameters the data "
            "determine. More starts or more iterations would tell."
        )
    else:
        open_ones, clear = groups.get("undetermined", []), groups.get("determined", [])
        said.append(
            f"{near} starts fit about equally well (loss within 10 % of the best). Where they agree on a "
            "parameter, the data determine it; where they differ, other parameters make up for it. They "
            f"agree on {len(clear)} of {free} parameters, and leave {len(open_ones)} undetermined."
        )
    loose = [name for name in at_bounds if name in groups.get("undetermined", [])]
    firm = [name for name in at_bounds if name not in loose]
    if firm:
        said.append(
            f"The best fit lies at a bound in {', '.join(firm)}: it would go further if it could. "
            "Widen the bounds if that is physical; if it is not, the model may lack something."
        )
    if loose:
        said.append(
            f"The best value is at a bound, but undetermined, so that it says little: {', '.join(loose)}."
        )
    said += _recovery(target, fit)
    return said


def _recovery(target: Target, fit: Fit) -> list[str]:
    if not target.truth:
        return []
    first = measures.ranking(fit)[0]
    errors = {
        row.name: abs(float(fit.values[row.name][first]) / target.truth[row.name] - 1)
        for row in measures.free_parameters(fit)
        if target.truth.get(row.name)
    }
    if not errors:
        return []
    close = sum(error <= _RECOVERED for error in errors.values())
    name = max(errors, key=errors.get)
    found = f"{short(fit.values[name][first])} instead of {short(target.truth[name])}"
    worst = f"; the furthest off is {name} ({found})" if close < len(errors) else ""
    return [
        f"The truth is known: the best fit is within 5 % of it in {close} of {len(errors)} parameters{worst}."
    ]


def _warnings(target, fit, best, held_out, training, spikes, any_good) -> list[Warned]:
    count = len(fit.ids)
    status = np.asarray(fit.status)
    lost = int((~measures.usable(fit)).sum())
    limited = int((status == Status.ITERATION_LIMIT).sum())
    found = []
    if not any_good:
        found.append(
            Warned(
                f"All {count} starts diverged" if count > 1 else "The only start diverged",
                "No simulation stayed finite. Check the unit and size of the stimulus (the membrane area), "
                "make dt smaller, or narrow the ranges that random starts are drawn from.",
            )
        )
    elif lost > count / 2:
        found.append(
            Warned(
                f"{lost} of {count} starts diverged",
                "The rest may miss the best fit. Make dt smaller, or narrow the ranges that random starts "
                "are drawn from.",
            )
        )
    if np.all(target.train):
        found.append(
            Warned(
                "No sweep is held out",
                "The scores say how well the model was adjusted to these sweeps, not how well it predicts "
                "others. List some sweeps under target.test.",
            )
        )
    for state, result in (held_out or training).items() if any_good else ():
        where = "held-out" if held_out else "training"
        name = _NAMES.get(state, state)
        if not np.isfinite(result.rmse):
            found.append(
                Warned(
                    f"The best fit is not finite on the {where} sweeps",
                    f"There, {name} runs away. Do not use these parameters.",
                )
            )
        elif state == "V" and where in spikes and spikes[where].recorded and not spikes[where].simulated:
            found.append(
                Warned(
                    f"The best fit is silent on the {where} sweeps",
                    f"The recording has {spikes[where].recorded} spikes there. A squared error prefers a "
                    "missed spike to a misplaced one: let the loss weigh spikes.",
                )
            )
        elif state == "V" and where in spikes and spikes[where].recorded:
            if not spikes[where].gamma >= _COINCIDENT:
                found.append(
                    Warned(
                        f"The best fit spikes at other times than the recording on the {where} sweeps",
                        f"Mean Γ is {short(spikes[where].gamma)}. R² of the voltage, {score(result.r2)}, "
                        "says little here: spikes a millisecond off are enough for a low one. Judge the fit "
                        "by the numbers of its spikes and by its error between them.",
                    )
                )
        elif result.r2 < 0:
            found.append(
                Warned(
                    f"The best fit is worse than a flat line on the {where} sweeps",
                    f"R² of {name} is {score(result.r2)}: a constant at the mean of the recording would be "
                    "nearer. Do not use these parameters. Spikes at slightly wrong times also cause this: "
                    "look at the traces.",
                )
            )
    if limited > count / 2:
        near = len(measures.equally_good(fit))
        matters = (
            "Most starts had come within 10 % of the best loss by then, so it matters little; more "
            "iterations would settle it."
            if near > count / 2
            else "They may not have arrived. Raise the iterations of the stages under fit."
        )
        found.append(Warned(f"{limited} of {count} starts stopped at the iteration limit", matters))
    return found
