"""What is wrong with a configuration, in plain words: where, what was expected, received, the remedy.

The schema is closed, so a misspelt key is found; jsonschema finds what does not fit, and here each of
its errors becomes a sentence for somebody who does not know what a schema is.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from odynn.config.keys import expected, experiment_schema, parts, unit_phrase
from odynn.errors import did_you_mean, listed

DEEPEST = 20
QUOTE = "YAML reads plain numbers, dates, yes, no, on, off, true and false as other things: put it in quotes."


class Problem(NamedTuple):
    """One thing that is wrong: the path of the key from the top of the file, and what to do about it."""

    path: tuple
    text: str


def dotted(path: Iterable) -> str:
    """Return a path of keys and list places as users write it.

    >>> dotted(("experiments", "aiy", "bounds", 0))
    'experiments.aiy.bounds[0]'
    """
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def shown(value: object) -> str:
    """Return a value as a message shows it, with its kind where that could be misread.

    >>> shown("1e-3"), shown(True), shown(None), shown([0, 1])
    ("'1e-3' (text)", 'true (a truth value)', 'nothing', '[0, 1]')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{str(value).lower()} (a truth value)"
    if isinstance(value, Mapping):
        return f"a mapping with the keys {listed(value)}" if value else "an empty mapping"
    text = repr(value)
    if len(text) > 80:
        text = f"{text[:77]} …"
    if isinstance(value, str):
        return f"{text} (text)"
    return text if isinstance(value, int | float | list) else f"{value} (a {type(value).__name__})"


def clean(raw: object) -> tuple[object, list[Problem]]:
    """Return a plain copy (dicts, lists, values) of a loaded file, and what no schema can check.

    These are keys that are not text, numbers that are not finite, and nesting without end.
    """
    problems: list[Problem] = []

    def copy(value, path):
        if len(path) > DEEPEST:
            problems.append(
                Problem(path[:3], f"nested deeper than {DEEPEST} levels. Is an alias inside itself?")
            )
            return None
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    problems.append(Problem(path, f"keys must be text. Received: {shown(key)}. {QUOTE}"))
            return {key: copy(item, (*path, key)) for key, item in value.items() if isinstance(key, str)}
        if isinstance(value, list | tuple):
            return [copy(item, (*path, place)) for place, item in enumerate(value)]
        if isinstance(value, int | float) and not abs(value) < 1e300:
            problems.append(Problem(path, f"expected a finite number. Received: {value}."))
        return value

    return copy(raw, ()), problems


def _fix_number(value: object, node: Mapping) -> str:
    """Return the remedy for something that is not a number but stands for one."""
    whole = "integer" in (node["type"] if isinstance(node["type"], list) else [node["type"]])
    if isinstance(value, float) and whole:
        return f"Write a whole number, such as {round(value)}."
    if not isinstance(value, str):
        return "Write one number."
    text = value.strip()
    try:
        number = float(text)
    except ValueError:
        if re.fullmatch(r"[-+]?\d+,\d+", text):
            return f"Write the decimal point as a point: {text.replace(',', '.')}."
        if re.match(r"[-+]?\.?\d", text):
            unit = unit_phrase(node)
            return f"Write the number alone, in {unit}." if unit else "Write the number alone."
        return "Write a number."
    if not math.isfinite(number):
        return "Write a finite number."
    written = str(int(number)) if whole and number.is_integer() else _yaml_number(text)
    if written == text:
        return f"Write {text} without quotes."
    return f"YAML reads {text} as text: write {written}."


def _yaml_number(text: str) -> str:
    """Return a number as YAML 1.1 reads it: with a point and a signed exponent.

    >>> _yaml_number("1e-3"), _yaml_number("2.5E3")
    ('1.0e-3', '2.5e+3')
    """
    mantissa, mark, exponent = text.lower().partition("e")
    if not mark:
        return text
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    mantissa = re.sub(r"^([-+]?)\.", r"\g<1>0.", mantissa)
    return f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"


def _remedy(value: object, node: Mapping) -> str:
    """Return how to mend a value that its schema does not accept, or an empty string."""
    kinds = node.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    known = node.get("enum", [branch["const"] for branch in node.get("anyOf", []) if "const" in branch])
    if known:
        return did_you_mean(value, known).strip()
    if {"number", "integer"} & set(kinds) and not isinstance(value, int | float | list) and value is not None:
        return _fix_number(value, node)
    if isinstance(value, float) and "integer" in kinds:
        return _fix_number(value, node)
    if value is None:
        quote = " A value that begins with # must be quoted." if "string" in kinds else ""
        return f"Give a value, or delete the key.{quote}"
    if "string" in kinds:
        return "Put it in quotes if it is a name."
    if "object" in kinds and isinstance(value, list):
        return "Write keys without dashes before them."
    if "object" in kinds and not isinstance(value, dict):
        return "Write its keys indented below it."
    return ""


def missing(path: tuple, node: Mapping) -> Problem:
    """Return the problem of a key that is not there."""
    return Problem(path, f"missing. Expected {expected(node)}. Add it.")


def _mismatch(path: tuple, value: object, node: Mapping, ceiling: bool = False) -> Problem:
    text = f"expected {expected(node, ceiling=ceiling)}. Received: {shown(value)}. {_remedy(value, node)}"
    return Problem(path, text.strip())


def _homes(node: Mapping, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the place of every key that an experiment may have."""
    for part in parts(node):
        for name, child in part.get("properties", {}).items():
            here = f"{path}.{name}".removeprefix(".")
            yield name, here
            yield from _homes(child, here)
        if "items" in part:
            yield from _homes(part["items"], f"{path}[]")


def _unknown(key: str, path: tuple, node: Mapping) -> Problem:
    """Return the problem of a key that is not known, with where it belongs or the nearest known name."""
    homes: dict[str, dict[str, None]] = {}
    for name, home in _homes(experiment_schema()):
        homes.setdefault(name, {})[home] = None
    here = re.sub(r"\[\d+\]", "[]", dotted(path[1 if path[:1] == ("defaults",) else 2 :]))
    # Where another kind of target, piece or stage has the key in this very place, it is no home.
    places = [home for home in homes.get(key, ()) if not path or home.rpartition(".")[0] != here]
    hint = "" if places else did_you_mean(key, node["properties"])
    if not hint and key not in homes:
        nearest = get_close_matches(key, homes, n=1, cutoff=0.75)
        places = [home for name in nearest for home in homes[name]]
    places = sorted(places, key=lambda place: place.count("["))  # lists of pieces are the least likely home
    if places and not path:
        hint = f" It belongs to an experiment: experiments.NAME.{places[0]}."
    elif places:
        hint = f" In an experiment there is {listed((f'`{place}`' for place in places), 3)}."
    hint = hint or f" Known here: {listed(node['properties'], 20)}."
    return Problem((*path, key), f"unknown key.{hint}")


def _say(error: Any) -> Iterator[Problem]:
    """Yield the problems that one error of jsonschema stands for."""
    path, node, value = tuple(error.absolute_path), error.schema, error.instance
    if error.validator == "additionalProperties":
        for key in value:
            if key not in node["properties"]:
                yield _unknown(key, path, node)
    elif error.validator == "required":
        for key in node["required"]:
            if key not in value:
                yield missing((*path, key), node["properties"].get(key, {}))
    elif "propertyNames" in error.absolute_schema_path:
        yield Problem((*path, value), f"this name cannot be used. Expected {expected(node)}.")
    elif error.validator == "oneOf":
        known = [branch["required"][0] for branch in node["oneOf"]]
        hints = [did_you_mean(key, known) for key in value]
        if set(known) & set(value):
            hints = [" Write two pieces, which add up."]
        text = f"expected exactly one of the keys {listed(known)}. Received: {listed(value) or 'none'}."
        yield Problem(path, f"{text}{next(filter(None, hints), '')} The kinds are {expected(node)}.")
    elif error.validator == "anyOf":
        branches: dict[int, list] = {}
        for inner in error.context:
            branches.setdefault(inner.relative_schema_path[0], []).append(inner)
        # The branch that was meant is the one whose kind fits, so that its inner mistakes are told.
        meant = [
            inner
            for inner in branches.values()
            if not any(not e.relative_path and e.validator in ("const", "type") for e in inner)
        ]
        if meant and any(inner.relative_path for inner in meant[0]):
            for inner in meant[0]:
                yield from _say(inner)
        else:
            yield _mismatch(path, value, node)
    else:
        yield _mismatch(path, value, node, ceiling=error.validator == "maximum")


def find_problems(node: Mapping, value: object, path: tuple = ()) -> list[Problem]:
    """Return everything in ``value`` that this part of the schema does not accept.

    Args:
        node: part of the schema.
        value: plain value to check.
        path: where in the file the value stands, put before the path of every problem.
    """
    from jsonschema import Draft202012Validator  # slow to import

    errors = list(Draft202012Validator(node).iter_errors(value))
    ambiguous = {tuple(error.absolute_path) for error in errors if error.validator == "oneOf"}
    found: dict[Problem, None] = {}
    for error in errors:
        if error.validator == "oneOf" or tuple(error.absolute_path) not in ambiguous:
            for problem in _say(error):
                found[Problem(path + problem.path, problem.text)] = None
    return list(found)
