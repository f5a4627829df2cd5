"""A hash of the code that a stage of the workflow runs.

Snakemake does not see an edit in an imported package, so this hash is one of the parameters of
every rule: an edited model is refitted, an edited plot is not. The code is read, never run.
"""

import ast
import hashlib
import os
import symtable
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from odynn.errors import ModelError, OdynnError, did_you_mean, listed

# Assignments that say nothing about what a module computes. MODEL_PATHS, in the registry, lists
# every model of the library: a new one must not refit the others.
_SILENT = {"MODEL_PATHS", "__all__", "__version__"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def code_fingerprint(
    stage: str,
    model: str = "",
    losses: Iterable[str] = (),
    *,
    package_root: str | os.PathLike | None = None,
) -> str:
    """Return a short hash of the package code that a stage runs.

    It covers the function of ``odynn/stages.py``, what the function uses of that file, and every
    module of the package that is imported from there, however far. Comments, docstrings and layout
    do not count. Of the model library it covers just the model named, and ``plotting`` only if the
    stage itself imports it. Modules that are imported by a name held in text
    (``importlib.import_module``) are not seen.

    Args:
        stage: name of a function of ``odynn/stages.py``.
        model: a name of the registry, or ``path/to/file.py:ClassName``, whose file then counts.
        losses: classes of terms of losses of the user's own, ``path/to/file.py:ClassName``, whose files
            count too.
        package_root: folder of the package; by default this one.

    Returns:
        16 hexadecimal digits.

    Raises:
        OdynnError: if there is no such stage.
        ModelError: if there is no such model, or no such file of a loss.
    """
    root = Path(package_root) if package_root else Path(__file__).parent
    code, imports = _stage_code(root, stage)
    library = _library(root)
    modules = {target.partition(":")[0] for target in library.values()}
    # A model draws itself with `plotting`, and a stage runs as one of `jobs`: neither changes a number. Only
    # a stage that draws depends on the former.
    skipped = {f"{root.name}.stages", f"{root.name}.jobs", f"{root.name}.plotting"}
    if any(name.startswith(f"{root.name}.plotting") for name in _named(root, imports)):
        skipped.remove(f"{root.name}.plotting")
    found = _closure(root, imports, skipped | modules)
    if model:
        source, separator, _ = library.get(model, model).rpartition(":")
        if source in modules:
            imports = {_Import(source)}
        elif separator and source.endswith(".py") and Path(source).is_file():
            own = _module(Path(source), "")
            code, imports = f"{code} {own.digest}", own.every
        else:
            raise ModelError(
                f"model must be a name of the library ({listed(library)}) or path/to/file.py:ClassName "
                f"of a file that exists. Received: {model!r}.{did_you_mean(model, library)}"
            )
        code = f"{code} {Path(library.get(model, model)).name}"
        found |= _closure(root, imports, skipped)
    for name in losses:
        path = Path(name.rpartition(":")[0])
        if not path.is_file():
            raise ModelError(f"loss: there is no file {path}. Paths are relative to the config file.")
        own = _module(path, "")
        code = f"{code} {own.digest} {Path(name).name}"
        found |= _closure(root, own.every, skipped | modules)
    lines = [code, *(f"{name} {digest}" for name, digest in sorted(found.items()))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def losses_of(settings: Mapping) -> Iterator[tuple[tuple, Mapping | list]]:
    """Give each loss in the settings of an experiment, the one of a stage of the fit too, and its keys.

    Args:
        settings: of an experiment, whole or as far as a stage of the workflow reads them.
    """
    if settings.get("loss") and settings["loss"] != "default":
        yield ("loss",), settings["loss"]
    stages = (settings.get("fit") or {}).get("stages")
    for number, stage in enumerate(stages if isinstance(stages, list) else ()):
        if stage.get("loss"):
            yield ("fit", "stages", number, "loss"), stage["loss"]


def own_losses(settings: Mapping) -> list[str]:
    """Return the classes of the user's own, ``path/to/file.py:ClassName``, among the terms of all losses."""
    lists = [loss for _, loss in losses_of(settings) if isinstance(loss, list)]
    return sorted({term["kind"] for loss in lists for term in loss if ":" in term["kind"]})


def own_code(settings: Mapping) -> dict[str, str]:
    """Return the hash of each file of the user's own that settings name, as the fingerprint takes it.

    Args:
        settings: of an experiment, whole or as far as a stage of the workflow reads them.

    Returns:
        ``path/to/file.py:ClassName``, as the settings have it, to 16 hexadecimal digits. Comments,
        docstrings and layout do not count.

    Raises:
        ModelError: if there is no such file.
    """
    model = settings.get("model") or ""
    found = {}
    for name in (*([model] if ".py:" in model else []), *own_losses(settings)):
        path = Path(name.rpartition(":")[0])
        if not path.is_file():
            raise ModelError(f"there is no file {path}. Paths are relative to the config file.")
        found[name] = _module(path, "").digest[:16]
    return found


class _Import(NamedTuple):
    """``import module``, or ``from module import name``."""

    module: str
    name: str = ""


class _Module(NamedTuple):
    """A module's code as a hash, and its imports: those made when it loads, and all."""

    digest: str
    on_loading: frozenset[_Import]
    every: frozenset[_Import]


def _closure(root: Path, imports: Iterable[_Import], skipped: set[str]) -> dict[str, str]:
    """Return the hash of each module of the package that the imports lead to.

    Importing ``a.b.c`` runs ``a/__init__.py`` too, but no function in it: of the packages above a
    module, only the imports made on loading are followed.
    """
    found: dict[str, bool] = {}
    waiting = [(name, True) for name in _named(root, imports)]
    while waiting:
        name, whole = waiting.pop()
        path = _file_of(root, name)
        if path is None or skipped & {name, *_above(name)} or found.get(name) in (True, whole):
            continue
        found[name] = whole
        module = _module(path, name)
        waiting += [(other, True) for other in _named(root, module.every if whole else module.on_loading)]
        waiting += [(package, False) for package in _above(name)]
    return {name: _module(_file_of(root, name), name).digest for name in found}


def _above(name: str) -> list[str]:
    return [name[:place] for place, letter in enumerate(name) if letter == "."]


def _named(root: Path, imports: Iterable[_Import]) -> Iterator[str]:
    """Give the module of each import: ``from a import b`` names ``a.b`` if that is a module, else ``a``."""
    for module, name in imports:
        yield f"{module}.{name}" if name and _file_of(root, f"{module}.{name}") else module


def _file_of(root: Path, name: str) -> Path | None:
    head, *rest = name.split(".")
    if head != root.name:
        return None
    folder = root.joinpath(*rest)
    candidates = [folder / "__init__.py", *([folder.with_name(f"{folder.name}.py")] if rest else [])]
    return next((path for path in candidates if path.is_file()), None)


def _library(root: Path) -> dict[str, str]:
    """Return the registry's table of models, {name: "module:Class"}, read and not run."""
    path = root / "models" / "registry.py"
    return dict(_read(path, _parsed_library)) if path.is_file() else {}


@cache
def _parsed_library(path: Path, _mtime: int, _size: int) -> dict[str, str]:
    nodes = (_defined(statement).get("MODEL_PATHS") for statement in ast.parse(path.read_bytes()).body)
    return next((ast.literal_eval(node.value) for node in nodes if node), {})


def _module(path: Path, name: str) -> _Module:
    return _read(path, _parsed_module, name)


@cache
def _parsed_module(path: Path, _mtime: int, _size: int, name: str) -> _Module:
    source = path.read_bytes()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return _Module(hashlib.sha256(source).hexdigest(), frozenset(), frozenset())
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    imports = list(_imports(tree.body, package))
    on_loading = frozenset(found for found, in_function in imports if not in_function)
    return _Module(_digest([tree]), on_loading, frozenset(found for found, _ in imports))


def _read(path: Path, parsed, *more):
    """Return what a cached function makes of a file as it now is: Snakemake's own process lives long."""
    about = path.stat()
    return parsed(path, about.st_mtime_ns, about.st_size, *more)


def _imports(
    body: Iterable[ast.AST], package: list[str], in_function: bool = False
) -> Iterator[tuple[_Import, bool]]:
    """Give every import below some statements, and whether it waits for a function to be called."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((_Import(alias.name), in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((_Import(module, alias.name), in_function) for alias in node.names)
        else:
            waits = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            test = getattr(node, "test", None)
            never = getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"
            for part in ("body", "orelse", "handlers", "finalbody", "cases")[never:]:
                below = getattr(node, part, ())
                yield from _imports(below if isinstance(below, list) else (), package, waits)


def _stage_code(root: Path, stage: str) -> tuple[str, set[_Import]]:
    """Return the hash of a stage's code in ``stages.py``, and the imports that it runs."""
    path = root / "stages.py"
    if not path.is_file():
        raise OdynnError(f"'{path}' must hold the stages. Received: no such file. Install odynn again.")
    body, defined, used = _read(path, _parsed_stages)
    if stage not in defined:
        known = [name for name, node in defined.items() if isinstance(node, ast.FunctionDef)]
        raise OdynnError(
            f"stage must be a function of '{path}'. Received: {stage!r}.{did_you_mean(stage, known)}"
        )
    # Statements that define nothing run for every stage.
    always = [node for node in _code(body) if not _defined(node)]
    waiting, reached = [stage, *_names_in(always)], set()
    while waiting:
        name = waiting.pop()
        if name in defined and name not in reached:
            reached.add(name)
            waiting += used[name]
    nodes = always + [defined[name] for name in sorted(reached)]
    imports = {found for found, in_function in _imports(body, [root.name]) if not in_function}
    return _digest(nodes), imports | {found for found, _ in _imports(nodes, [root.name])}


@cache
def _parsed_stages(path: Path, _mtime: int, _size: int) -> tuple[list, dict, dict]:
    """Return the statements, what defines each global name, and the global names that each uses."""
    source = path.read_text(encoding="utf-8")
    body = ast.parse(source).body
    defined = {name: node for statement in body for name, node in _defined(statement).items()}
    # A symbol table tells a global name from an argument called alike: `fit` is a stage and a file.
    inside: dict[str, set[str]] = {}
    for table in symtable.symtable(source, str(path), "exec").get_children():
        inside.setdefault(table.get_name(), set()).update(_globals_of(table))
    used = {}
    for name, node in defined.items():
        definition = isinstance(node, _DEFINITIONS)
        parts = (part for field, part in ast.iter_fields(node) if not (definition and field == "body"))
        used[name] = _names_in(parts) | (inside.get(name, set()) if definition else set())
    return body, defined, used


def _globals_of(table: symtable.SymbolTable) -> set[str]:
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return own.union(*(_globals_of(child) for child in table.get_children()))


def _names_in(parts: Iterable) -> set[str]:
    """Return the names in nodes and lists of nodes."""
    nodes = [node for part in parts for node in (part if isinstance(part, list) else [part])]
    trees = [node for node in nodes if isinstance(node, ast.AST)]
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _defined(node: ast.stmt) -> dict[str, ast.AST]:
    """Return the names that a statement defines; an import of several names counts as several."""
    if isinstance(node, _DEFINITIONS):
        return {node.name: node}
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.split(".")[0]: ast.Import([alias]) for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        names = {alias.asname or alias.name: alias for alias in node.names}
        return {name: ast.ImportFrom(node.module, [alias], node.level) for name, alias in names.items()}
    if isinstance(node, ast.Assign):
        return dict.fromkeys(_names_in(node.targets), node)
    if isinstance(node, ast.AnnAssign):
        return dict.fromkeys(_names_in([node.target]), node)
    return {}


def _digest(nodes: Iterable[ast.AST]) -> str:
    parts: list[str] = []
    for node in nodes:
        _spell(node, parts.append)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _spell(value: object, out) -> None:
    """Spell code without places, docstrings and what is left empty; several times faster than ast.dump."""
    if isinstance(value, ast.AST):
        out(type(value).__name__)
        for field in value._fields:
            inner = getattr(value, field, None)
            if inner is None or inner == []:
                continue
            if field == "body" and isinstance(value, (ast.Module, *_DEFINITIONS)):
                inner = _code(inner)
            out(field)
            _spell(inner, out)
    elif isinstance(value, list):
        out("[")
        for inner in value:
            _spell(inner, out)
        out("]")
    else:
        out(repr(value))


def _code(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements without a docstring and without assignments that say nothing of the result."""
    first = body[0] if body else None
    documented = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
    return [
        node
        for node in body[documented:]
        if not (isinstance(node, ast.Assign | ast.AnnAssign) and _SILENT & set(_defined(node)))
    ]
