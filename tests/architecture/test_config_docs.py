"""The schema, its documentation and the shipped configurations are in step."""

import difflib
import inspect
import re
import sys
import types
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from odynn import config
from odynn.config.__main__ import main
from odynn.config.keys import schema

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "config" / "README.md"
RAW = yaml.safe_load((ROOT / "odynn" / "config" / "schema.yaml").read_text("utf-8"))
SHIPPED = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "config").rglob("*.yaml"))
COMMAND = "python -m odynn.config config/README.md"


def subschemas(node, path="#"):
    """Yield (path, subschema), leaving out conditions, which only choose between others."""
    yield path, node
    for word in ("properties", "$defs"):
        for key, child in node.get(word, {}).items():
            yield from subschemas(child, f"{path}/{word}/{key}")
    for word in ("items", "additionalProperties", "then", "else"):
        if isinstance(node.get(word), dict):
            yield from subschemas(node[word], f"{path}/{word}")
    for word in ("allOf", "anyOf"):
        for place, child in enumerate(node.get(word, [])):
            yield from subschemas(child, f"{path}/{word}/{place}")


def keys(node=None, path=""):
    """Yield (path, schema of the key) for every key of the schema with its references replaced."""
    for place, part in subschemas(schema() if node is None else node):
        for key, child in part.get("properties", {}).items():
            yield f"{place}/{key}", child


def test_readme_has_the_tables_of_the_schema():
    text = README.read_text("utf-8")
    begin, end = config.reference().split("\n")[0], config.reference().rstrip("\n").split("\n")[-1]
    assert text.count(begin) == text.count(end) == 1
    written = text[text.index(begin) : text.index(end) + len(end) + 1]
    difference = difflib.unified_diff(
        written.splitlines(), config.reference().splitlines(), "README", "schema", lineterm=""
    )
    assert written == config.reference(), "\n".join([*difference, f"To write the tables again: {COMMAND}"])
    assert COMMAND in begin


def test_command_rewrites_only_what_is_between_the_marks(tmp_path, capsys):
    lines = config.reference().splitlines()
    path = tmp_path / "README.md"
    path.write_text(f"before\n{lines[0]}\nold\n{lines[-1]}\nafter\n", "utf-8")
    assert main([str(path)]) == 0
    assert path.read_text("utf-8") == f"before\n{config.reference()}after\n"
    path.write_text("no marks\n", "utf-8")
    assert main([str(path)]) == 1
    assert "Add them where the tables go" in capsys.readouterr().err
    assert main([]) == 0
    assert capsys.readouterr().out == config.reference()


def test_tables_name_every_key():
    names = set(re.findall(r"^\| `(?:[a-z_.]+\.)?([a-z0-9_]+)` \|", config.reference(), re.MULTILINE))
    # `synthetic` has a table of its own instead of a row.
    expected = {place.rpartition("/")[2] for place, _ in keys()} - {"synthetic"}
    assert len(expected) > 50
    assert names == expected


def test_schema_is_valid_and_found_where_editors_look():
    Draft202012Validator.check_schema(RAW)
    assert RAW["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    link = ROOT / "workflow" / "schemas" / "config.schema.yaml"
    assert link.is_symlink()
    assert link.readlink() == Path("../../odynn/config/schema.yaml")
    assert link.resolve() == ROOT / "odynn" / "config" / "schema.yaml"


def test_schema_is_closed():
    objects = 0
    for path, node in subschemas(RAW):
        kinds = node.get("type", [])
        if "properties" not in node and "object" not in ([kinds] if isinstance(kinds, str) else kinds):
            continue
        objects += 1
        inner = node.get("additionalProperties")
        if "if" in node or "allOf" in node:
            # What may be inside is said by the kinds, each of them closed and visited by itself.
            assert inner is None, path
            branches = node.get("allOf", [node])
            assert all("$ref" in branch["then"] for branch in branches), path
        elif isinstance(inner, dict):
            # The options of a user's own class of terms are beside its keys.
            assert "properties" not in node or path == "#/$defs/own_term", path
            assert {"type", "$ref", "anyOf"} & set(inner), path
        else:
            assert inner is False, path
    assert objects > 15


def test_every_key_is_described_and_has_a_default_or_is_required():
    found = list(keys())
    assert len(found) > 60
    for path, node in found:
        assert node.get("description", "").strip().endswith("."), path
    for path, part in subschemas(schema()):
        for key, node in part.get("properties", {}).items():
            chosen = any(key in one["required"] for one in part.get("oneOf", []))
            filled = "default" in node or node.get("needed") or key in part.get("required", ()) or chosen
            only_kind = key == "synthetic"
            assert filled or only_kind, f"{path}/{key}"


def test_every_number_has_a_unit_and_its_key_says_it():
    numbers = 0
    for path, node in subschemas(schema()):
        kinds = node.get("type", [])
        if {"number", "integer"} & set([kinds] if isinstance(kinds, str) else kinds):
            numbers += 1
            assert node.get("unit"), path
    assert numbers > 40
    for path, node in keys():
        inside = [part.get("unit", "1") for _, part in subschemas(node) if "properties" not in part]
        if isinstance(node.get("properties"), dict) or any(
            "properties" in part for _, part in subschemas(node)
        ):
            inside = [node.get("unit", "1")]
        for unit in set(inside) - {"1"}:
            assert unit in node["description"], f"{path}: the description must say the unit {unit}"


def test_every_default_is_valid_where_it_stands():
    defaults = [(path, node) for path, node in keys() if "default" in node]
    assert len(defaults) > 35
    for path, node in defaults:
        assert Draft202012Validator(node).is_valid(node["default"]), path


def test_choices_are_those_that_the_code_has():
    from odynn.fitting.starts import DESIGNS
    from odynn.models.equations import SOLVERS
    from odynn.recordings import FORMATS
    from odynn.recordings.selection import RESAMPLE

    defined = RAW["$defs"]
    assert tuple(defined["experiment"]["properties"]["solver"]["enum"]) == tuple(SOLVERS)
    starts = defined["experiment"]["properties"]["starts"]["properties"]
    assert tuple(starts["design"]["enum"]) == DESIGNS
    assert set(defined["format"]["enum"]) == {"auto", *FORMATS}
    assert set(defined["recording"]["properties"]["resample"]["enum"]) == set(RESAMPLE)


def test_stages_have_the_options_and_defaults_of_their_methods():
    from odynn.fitting.staged import METHODS

    defined = RAW["$defs"]
    assert set(defined["method"]["enum"]) == set(METHODS)
    compared = 0
    for name, minimise in METHODS.items():
        left_out = {"method", "keep", "loss"}
        options = {key: node for key, node in schema_of_stage(name).items() if key not in left_out}
        arguments = inspect.signature(minimise).parameters
        own = {key for key, it in arguments.items() if it.kind is it.KEYWORD_ONLY}
        own -= {"progress", "keeper", "seeds"}
        assert own == set(options), name
        for key in own:
            if arguments[key].default is not inspect.Parameter.empty:
                compared += 1
                assert arguments[key].default == options[key]["default"], f"{name}: {key}"
    assert compared >= 5


def test_stages_from_python_have_the_defaults_of_the_schema():
    from odynn.config.keys import complete
    from odynn.fitting.staged import METHODS, complete_stage, fit_stages

    stage = RAW["$defs"]["stage"]
    assert stage["allOf"]
    for name in METHODS:
        given, absent = complete({"properties": schema_of_stage(name)}, {"method": name})
        assert not absent
        assert complete_stage({"method": name}) == given
    defaults = {key: it.default for key, it in inspect.signature(fit_stages).parameters.items()}
    experiment = schema()["properties"]["experiments"]["additionalProperties"]["properties"]
    starts, fit = experiment["starts"]["properties"], experiment["fit"]["properties"]
    for key, node in {"seed": starts["seed"], "pool": starts["pool"], "hopeless": fit["hopeless"]}.items():
        assert defaults[key] == node["default"], key


def test_terms_have_the_options_and_defaults_of_their_classes():
    from odynn.fitting.losses import KINDS

    defined = RAW["$defs"]
    named = {branch["const"] for branch in defined["kind"]["anyOf"] if "const" in branch}
    assert named == set(KINDS)
    compared = 0
    (terms,) = (part["items"]["allOf"] for part in schema_of_loss()["anyOf"] if "items" in part)
    for name, kind in KINDS.items():
        (node,) = (t["then"] for t in terms if t["if"]["properties"]["kind"].get("const") == name)
        options = {key: it for key, it in node["properties"].items() if key not in ("kind", "weight")}
        arguments = inspect.signature(kind).parameters
        assert {key.rstrip("_") for key in arguments} == set(options), name
        for key, argument in arguments.items():
            default = options[key.rstrip("_")]["default"]
            compared += 1
            assert argument.default == (tuple(default) if isinstance(default, list) else default), (name, key)
    assert compared >= 15


def schema_of_loss():
    return schema()["properties"]["experiments"]["additionalProperties"]["properties"]["loss"]


def schema_of_stage(name):
    stage = schema()["properties"]["experiments"]["additionalProperties"]["properties"]["fit"]["properties"]
    kinds = stage["stages"]["anyOf"][1]["items"]["allOf"]
    (kind,) = (k["then"] for k in kinds if k["if"]["properties"]["method"]["const"] == name)
    return kind["properties"]


@pytest.fixture
def no_models(monkeypatch):
    models, recordings = types.ModuleType("odynn.models"), types.ModuleType("odynn.recordings")
    losses = types.ModuleType("odynn.fitting.checks")
    models.check_experiment = lambda settings: []
    models.load_model = lambda name: types.SimpleNamespace(current_unit="µA/cm²")
    losses.check_losses = lambda settings: []
    losses.chosen_loss = lambda settings: settings["loss"]
    losses.fitted_states = lambda settings: []
    recordings.preflight = lambda *settings: []
    monkeypatch.setitem(sys.modules, "odynn.models", models)
    monkeypatch.setitem(sys.modules, "odynn.fitting.checks", losses)
    monkeypatch.setitem(sys.modules, "odynn.recordings", recordings)


def test_examples_of_the_readme_are_valid(no_models, tmp_path):
    (tmp_path / "data").mkdir()
    blocks = re.findall(r"^```yaml\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    for number, block in enumerate(blocks):
        if "experiments:" not in block:
            block = "experiments:\n  mine:\n    model: celegans\n    dt: 1.0\n" + block
        if "target:" not in block:
            block += "    target: {file: data/mine.csv}\n"
        for file in re.findall(r"file: ([\w/.]+)|kind: ([\w/]+\.py)", block):
            file = file[0] or file[1]
            (tmp_path / file).write_text("")
        path = tmp_path / f"example{number}.yaml"
        path.write_text(block, "utf-8")
        assert config.load(path).experiments


def test_first_example_of_the_readme_has_five_lines():
    block = re.search(r"five lines\n\n```yaml\n(.*?)```", README.read_text("utf-8"), re.DOTALL).group(1)
    assert len(block.splitlines()) == 5


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_have_the_schema_and_editors_find_it(name):
    path = ROOT / name
    first, *_ = path.read_text("utf-8").splitlines()
    said = re.fullmatch(r"# yaml-language-server: \$schema=(.+)", first).group(1)
    assert (path.parent / said).resolve() == ROOT / "odynn" / "config" / "schema.yaml"
    problems = list(Draft202012Validator(RAW).iter_errors(yaml.safe_load(path.read_text("utf-8"))))
    assert problems == []


def test_both_shipped_files_were_looked_at():
    assert {"config/config.yaml", "config/experiments/aiy.yaml"} <= set(SHIPPED)
