"""From an entry of ``loss`` in a configuration to a term."""

import keyword
from collections.abc import Mapping

from odynn.errors import FitError, did_you_mean, listed, users_code
from odynn.fitting.losses.elementwise import Derivative, SquaredError
from odynn.fitting.losses.filtered_spikes import FilteredSpikes
from odynn.fitting.losses.spikes import SpikeCount, SpikeFeatures, SpikeTimes
from odynn.fitting.losses.terms import ElementwiseTerm, SweepTerm
from odynn.models.registry import class_from_file

Term = ElementwiseTerm | SweepTerm

KINDS: Mapping[str, type[Term]] = {
    "squared_error": SquaredError,
    "derivative": Derivative,
    "filtered_spikes": FilteredSpikes,
    "spike_times": SpikeTimes,
    "spike_count": SpikeCount,
    "spike_features": SpikeFeatures,
}
"""Classes of terms by the name that a configuration gives. To add one: its class, a line here, and its
options in ``odynn/config/schema.yaml`` (an entry in ``$defs``, its name in ``kind``, a line in ``term``)."""


def term_class(kind: str) -> type[Term]:
    """Return the class of terms that a configuration names.

    Args:
        kind: a key of ``KINDS``, or ``path/to/file.py:ClassName``.

    Raises:
        OdynnError: if there is no such kind, or the file cannot be run.

    >>> term_class("squared_error").__name__
    'SquaredError'
    """
    if kind in KINDS:
        return KINDS[kind]
    path, separator, attribute = kind.rpartition(":")
    if not separator or not path.endswith(".py"):
        raise FitError(
            f"loss: no kind of term is called '{kind}'.{did_you_mean(kind, KINDS)} Known: {listed(KINDS)}. "
            "For your own give path/to/file.py:ClassName."
        )
    found = class_from_file(path, attribute, "loss")
    if not (isinstance(found, type) and issubclass(found, Term)):
        raise FitError(
            f"loss: {path}:{attribute} must be a class derived from ElementwiseTerm or SweepTerm of "
            f"odynn.fitting.losses. Received: {found!r}. Derive it from one of them."
        )
    needed = "residuals" if issubclass(found, ElementwiseTerm) else "values"
    if getattr(found, needed) in (ElementwiseTerm.residuals, getattr(SweepTerm, needed, None)):
        raise FitError(
            f"loss: {path}:{attribute} needs a method `{needed}`. Received: none. "
            "odynn.fitting.losses.terms says what it does."
        )
    return found


def make_term(entry: Mapping) -> Term:
    """Return the term of an entry {kind, weight, options …} of a configuration.

    Raises:
        OdynnError: if there is no such kind, or it does not take the options.
    """
    kind = term_class(entry["kind"])
    options = {
        f"{name}_" if keyword.iskeyword(name) else name: value
        for name, value in entry.items()
        if name not in ("kind", "weight")
    }
    given = listed(f"{name}: {value}" for name, value in options.items()) or "(none)"
    rule = f"loss: {entry['kind']} could not be made from the options {given}."
    with users_code(FitError, rule, "Give the options that its constructor takes."):
        return kind(**options)


def term_name(entry: Mapping) -> str:
    """Return what a term is called in results: its kind and, if it has one, its state.

    >>> term_name({"kind": "squared_error", "state": "V"}), term_name({"kind": "my/losses.py:Mine"})
    ('squared_error_V', 'Mine')
    """
    kind = entry["kind"].rpartition(":")[2]
    state = entry.get("state", getattr(KINDS.get(kind), "state", None))
    return f"{kind}_{state}" if isinstance(state, str) else kind
