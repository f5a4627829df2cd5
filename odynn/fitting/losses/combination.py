"""A loss: terms with names and weights, in its two written forms and as the fit computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odynn.errors import FitError, listed
from odynn.fitting.losses.registry import Term, make_term, term_name
from odynn.fitting.losses.terms import ElementwiseTerm, SweepTerm


@dataclass(frozen=True)
class WeightedTerm:
    """A term of a loss.

    Attributes:
        name: in results; no other term of the loss has it.
        weight: w > 0; what is minimised is the sum of w · value.
        term: computes the value.
    """

    name: str
    weight: float
    term: Term


@dataclass(frozen=True)
class Loss:
    """What a fit minimises: the sum of weight · value over terms.

    Attributes:
        terms: in the order in which they are reported.
    """

    terms: tuple[WeightedTerm, ...]

    @property
    def elementwise(self) -> tuple[WeightedTerm, ...]:
        """The terms that give residuals."""
        return tuple(one for one in self.terms if isinstance(one.term, ElementwiseTerm))

    @property
    def per_sweep(self) -> tuple[WeightedTerm, ...]:
        """The terms that give a number a sweep, and no derivative."""
        return tuple(one for one in self.terms if isinstance(one.term, SweepTerm))

    @property
    def states(self) -> tuple[str, ...]:
        """States that must be observed."""
        return tuple(dict.fromkeys(state for one in self.terms for state in one.term.states))

    def unit(self, units: Mapping[str, str]) -> str:
        """Return the unit of the loss: that of its terms if they have one unit, else "1".

        Args:
            units: of each observed state.
        """
        found = {one.term.unit(units) for one in self.terms}
        return found.pop() if len(found) == 1 else "1"


def entries_of(settings: Mapping | Sequence[Mapping]) -> list[dict]:
    """Return the terms of a loss as it is written: the short form is a squared error a state.

    >>> entries_of({"V": 2.0})
    [{'kind': 'squared_error', 'state': 'V', 'weight': 2.0}]
    """
    if isinstance(settings, Mapping):
        return [
            {"kind": "squared_error", "state": state, "weight": weight} for state, weight in settings.items()
        ]
    return [dict(entry) for entry in settings]


def make_loss(settings: Mapping | Sequence[Mapping]) -> Loss:
    """Return a loss from its settings.

    Args:
        settings: state to the weight of its mean squared error, or a list of terms, each with its
            ``kind``, its ``weight`` (1 by default) and its options. A term of weight 0 is left out.

    Raises:
        OdynnError: if a term cannot be made, or none has a weight.

    >>> [term.name for term in make_loss({"V": 1.0, "Ca": 0.0}).terms]
    ['squared_error_V']
    """
    terms: dict[str, WeightedTerm] = {}
    for entry in entries_of(settings):
        weight = entry.get("weight", 1.0)
        if not weight > 0:
            continue
        base = name = term_name(entry)
        number = 1
        while name in terms:
            number += 1
            name = f"{base}_{number}"
        terms[name] = WeightedTerm(name, weight, make_term(entry))
    if not terms:
        raise FitError(
            f"loss: at least one weight must be above 0. Received: {settings}. Give a term a weight."
        )
    return Loss(tuple(terms.values()))


def check_observed(loss: Loss, observed: Mapping[str, object]) -> None:
    """Raise a FitError where the target lacks a state that the loss weighs.

    Args:
        loss: the loss.
        observed: the target's observed states.
    """
    missing = [state for state in loss.states if state not in observed]
    if missing:
        raise FitError(
            f"loss: the target has no trace of {listed(missing)}. It has: {listed(observed)}. "
            f"Set the weight of {listed(missing)} to 0, or give a recording that has it."
        )
