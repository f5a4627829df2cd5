"""Habits of the code that neither ruff nor snakefmt knows."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "odynn").rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
LONGEST_MODULE = 450
API_NAMES = {"models", "models_name"}  # of odynn.models.cfg_model, promised in lower case
KEY_ORDER = "input output log benchmark threads resources params message script".split()


def nodes(kind):
    """Yield (where, node) for every node of a kind in the package."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, kind):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def code_lines(path):
    return len(path.read_text("utf-8").splitlines())


def test_modules_are_short():
    lengths = {str(path.relative_to(ROOT)): code_lines(path) for path in MODULES}
    assert len(lengths) > 30
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_snakefile_and_scripts_are_short():
    assert code_lines(ROOT / "workflow" / "Snakefile") <= 60
    assert len(SCRIPTS) == 9
    for script in SCRIPTS:
        assert code_lines(script) < 30, script.name


def test_no_global_statements():
    assert [where for where, _ in nodes((ast.Global, ast.Nonlocal))] == []


def test_nothing_is_pickled():
    imported = [
        (where, name.partition(".")[0])
        for where, node in nodes((ast.Import, ast.ImportFrom))
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
    ]
    assert len(imported) > 100
    assert [where for where, name in imported if name in {"pickle", "dill", "shelve", "joblib"}] == []


def test_errors_have_a_class_of_their_own():
    raised = [
        (where, node.exc.func.id if isinstance(node.exc, ast.Call) else node.exc.id)
        for where, node in nodes(ast.Raise)
        if isinstance(getattr(node.exc, "func", node.exc), ast.Name)
    ]
    assert len(raised) > 20
    assert [where for where, name in raised if name in {"Exception", "BaseException", "AssertionError"}] == []


def test_no_mutable_default_state_in_modules():
    # A module's own list, dict or set is state that everybody shares; a constant is a tuple, frozenset or
    # MappingProxyType, or is written in capitals and never changed here.
    wrong = []
    for path in MODULES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
                node.value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
            ):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                wrong += [
                    f"{path.relative_to(ROOT)}:{node.lineno} {name}"
                    for name in names
                    if name.strip("_").upper() != name.strip("_") and name not in API_NAMES | {"__all__"}
                ]
    assert wrong == []


def test_rule_script_and_stage_share_a_name():
    stages = ast.parse((ROOT / "odynn" / "stages.py").read_text("utf-8"))
    functions = {node.name for node in stages.body if isinstance(node, ast.FunctionDef)}
    rules = [path for path in RULES if path.stem != "common"]
    assert {path.stem for path in rules} == {path.stem for path in SCRIPTS}
    for path in rules:
        text, name = path.read_text("utf-8"), path.stem
        assert re.findall(r"^(?:rule|checkpoint) (\w+):", text, re.M) == [name]
        assert f'"../scripts/{name}.py"' in text
        assert name in functions
        script = (ROOT / "workflow" / "scripts" / f"{name}.py").read_text("utf-8")
        assert re.findall(r"stages\.(\w+)\(", script) == ["job", name]


def test_rule_keys_come_in_one_order():
    for path in RULES:
        keys = re.findall(r"^    (\w+):", path.read_text("utf-8"), re.M)
        if path.stem != "common":
            assert keys == [key for key in KEY_ORDER if key in keys], path.name
            assert {"output", "log", "benchmark", "params", "message", "script"} <= set(keys), path.name


def test_no_path_of_one_machine():
    # Home and mount folders, in a file that is to run anywhere.
    pattern = re.compile(r"(?<![\w.])/(?:home|Users|root|mnt|media)/\w")
    files = [
        *MODULES,
        *SCRIPTS,
        *RULES,
        *ROOT.glob("config/**/*.yaml"),
        ROOT / "Makefile",
        ROOT / "workflow" / "Snakefile",
    ]
    assert len(files) > 40
    assert [str(path.relative_to(ROOT)) for path in files if pattern.search(path.read_text("utf-8"))] == []
