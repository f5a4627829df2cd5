"""The schema of the configuration: what keys there are, their defaults, and the tables about them.

``schema.yaml`` beside this module is the only place where keys, defaults and limits are written.
Here it is read to fill in what a configuration leaves out (`complete`), to say what a key accepts
(`expected`) and to write the tables of ``config/README.md`` (`tables`). Nothing here knows what a
key is for.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SCHEMA_FILE = Path(__file__).with_name("schema.yaml")


@cache
def schema() -> dict:
    """Return the schema with every ``$ref`` replaced by what it refers to.

    >>> sorted(schema()["properties"])
    ['defaults', 'experiments', 'results']
    """
    raw = yaml.load(SCHEMA_FILE.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    definitions = raw.pop("$defs")

    def inline(node):
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        node = dict(node)
        reference = node.pop("$ref", None)
        if reference is not None:
            node = definitions[reference.removeprefix("#/$defs/")] | node
        return {key: inline(item) for key, item in node.items()}

    return inline(raw)


def experiment_schema() -> dict:
    """Return the schema of one experiment."""
    return schema()["properties"]["experiments"]["additionalProperties"]


def limits(node: Mapping, ceiling: bool = True) -> str:
    """Return the limits of a number, ``"> 0, ≤ 1"``, or an empty string."""
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    # A million and more is a ceiling that nobody meets: only who does is told.
    far = not ceiling and node.get("maximum", 0) >= 1_000_000
    words = [f"{sign} {node[key]}" for key, sign in signs.items() if key in node]
    return ", ".join(words[:1] if far else words)


def expected(node: Mapping, unit: bool = True, ceiling: bool = False) -> str:
    """Return what a key accepts, as a phrase, with its unit and with limits that are far off or without.

    >>> expected({"type": "number", "exclusiveMinimum": 0, "unit": "ms"})
    'a number > 0, in ms'
    """
    if "expected" in node:
        return node["expected"]
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return f"{', '.join(node['enum'][:-1])} or {node['enum'][-1]}"
    kinds = node.get("type", "object")
    kind, nothing = (kinds, "") if isinstance(kinds, str) else (kinds[0], ", or null")
    if kind in ("number", "integer"):
        words = "a number" if kind == "number" else "a whole number"
        words += f" {limits(node, ceiling)}".rstrip()
        return words + (f", in {unit_phrase(node)}" if unit and unit_phrase(node) else "") + nothing
    if kind == "object" and isinstance(node.get("additionalProperties"), dict):
        values = expected(node["additionalProperties"], unit, ceiling)
        return f"{{{node.get('names', 'name')}: {values}}}{nothing}"
    return {"object": "a mapping, key: value", "array": "a list", "string": "text"}[kind] + nothing


def unit_phrase(node: Mapping) -> str:
    """Return the unit of a number as a sentence has it, or an empty string for a pure number."""
    unit = node.get("unit", "1")
    return "" if unit == "1" else f"{unit} unit" if unit.endswith("'s") else unit


def parts(node: Mapping, value: object = ...) -> Iterator[Mapping]:
    """Yield a part of the schema and those inside it that bear on the same value.

    Without a value, yield all that could.
    """
    yield node
    branches = [*node.get("allOf", []), *([node] if "if" in node else [])]
    chosen = []
    for branch in branches:
        if value is ...:
            chosen += [branch[key] for key in ("then", "else") if key in branch]
        else:
            key = "then" if _fits(branch["if"], value) else "else"
            chosen += [branch[key]] if key in branch else []
    for branch in node.get("anyOf", []):
        if value is ... or _fits(branch, value):
            chosen.append(branch)
    for branch in chosen:
        yield from parts(branch, value)


def _fits(node: Mapping, value: object) -> bool:
    from jsonschema import Draft202012Validator  # slow to import

    return Draft202012Validator(node).is_valid(value)


def complete(node: Mapping, value: Any) -> tuple[Any, list[tuple[tuple, Mapping]]]:
    """Return a valid value with its defaults filled in, and the needed keys that it lacks.

    The result does not depend on how the value was written: keys stand in the schema's order, names
    of maps are sorted, and numbers are float or int as the schema says. Equal settings are so equal
    as text, and do not set off a new fit.

    Args:
        node: part of the schema that ``value`` is valid for.
        value: what the user wrote; not changed.

    Returns:
        The value with its defaults, and for each needed key that is absent its path and its schema.
    """
    missing: list[tuple[tuple, Mapping]] = []

    def fill(node, value, path):
        if isinstance(value, dict):
            result: dict = {}
            for part in parts(node, value):
                for key, child in part.get("properties", {}).items():
                    if key in result:
                        continue
                    if key in value:
                        result[key] = fill(child, value[key], (*path, key))
                    elif "default" in child:
                        result[key] = fill(child, deepcopy(child["default"]), (*path, key))
                    elif child.get("needed"):
                        missing.append(((*path, key), child))
                if isinstance(part.get("additionalProperties"), dict):
                    for key in sorted(set(value) - set(result)):
                        result[key] = fill(part["additionalProperties"], value[key], (*path, key))
            return result
        for part in parts(node, value):
            if isinstance(value, list) and "items" in part:
                return [fill(part["items"], item, (*path, place)) for place, item in enumerate(value)]
            kinds = part.get("type", ())
            if isinstance(value, float) and "integer" in kinds and value.is_integer():
                return int(value)
            if isinstance(value, int | float) and "number" in kinds and "integer" not in kinds:
                return float(value)
        return value

    return fill(node, value, ()), missing


def tables() -> str:
    """Return the Markdown tables of every key: meaning, unit, default, what it accepts."""
    sections: dict[str, list[str]] = {}

    def visit(node, prefix):
        for part in parts(node):
            keys = part.get("properties", {})
            if "title" in part and part["title"] not in sections:
                sections[part["title"]] = [_row(f"{prefix}{key}", key, keys[key], part) for key in keys]
            for key, child in keys.items():
                # Each experiment starts a path of its own, and so does each item of a list.
                visit(child, "" if part is schema() else f"{prefix}{key}.")
            for inner in (part.get("items"), part.get("additionalProperties")):
                if isinstance(inner, dict):
                    visit(inner, "")

    visit(schema(), "")
    head = "| key | meaning | unit | default | accepted |\n|---|---|---|---|---|"
    return "\n\n".join(f"### {title}\n\n{head}\n" + "\n".join(rows) for title, rows in sections.items())


def _row(name: str, key: str, node: Mapping, owner: Mapping) -> str:
    values = node.get("additionalProperties") or {}
    inside = dict.fromkeys([*_titles(node), *_titles(values)])
    accepted = " or ".join(f"see *{title}*" for title in inside) or expected(node, unit=False)
    if node.get("needed") or key in owner.get("required", ()):
        default = "required"
    elif "default" not in node or (inside and node["default"] == {}):
        default = ""
    else:
        text = (
            yaml.safe_dump(node["default"], default_flow_style=True, width=float("inf"))
            .removesuffix("...\n")
            .strip()
        )
        default = f"`{text}`"
    unit = node.get("unit", values.get("unit", "1"))
    return f"| `{name}` | {node['description']} | {'' if unit == '1' else unit} | {default} | {accepted} |"


def _titles(node: Mapping) -> Iterator[str]:
    """Yield the titles of the tables that tell what is inside a key."""
    for part in parts(node):
        if "title" in part:
            yield part["title"]
        else:
            for child in part.get("properties", {}).values():
                yield from (inner["title"] for inner in parts(child) if "title" in inner)
