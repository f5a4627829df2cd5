"""What a result was made from: the code, the settings, the inputs and the libraries.

Snakemake does not see an edit in an imported package, so the fingerprint of the code that a stage
runs is one of the parameters of its rule: an edited model is refitted, an edited plot is not.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from odynn.errors import ModelError, OdynnError, StorageError, did_you_mean, listed

# Assignments that say nothing about what a module computes. MODEL_PATHS, in the registry, lists
# every model of the library: a new one must not refit the others.
_SILENT = {"MODEL_PATHS", "__all__", "__version__"}


def code_fingerprint(stage: str, model: str = "", *, package_root: str | os.PathLike | None = None) -> str:
    """Return a short hash of the package code that a stage runs.

    It covers the function of ``odynn/stages.py``, what the function uses of that file, and every
    module of the package that is imported from there, however far. Comments, docstrings and layout
    do not count. Of the model library it covers just the model named. Names that are imported from
    text (``importlib.import_module``) are not seen.

    Args:
        stage: name of a function of ``odynn/stages.py``.
        model: a name of the registry, or ``path/to/file.py:ClassName``, whose file then counts.
        package_root: folder of the package; by default this one.

    Returns:
        16 hexadecimal digits.

    Raises:
        OdynnError: if there is no such stage.
        ModelError: if there is no such model.
    """
    root = Path(package_root) if package_root else Path(__file__).parent
    code, imports = _stage_code(root, stage)
    library = _library(root)
    known = {target.partition(":")[0] for target in library.values()}
    found = _closure(root, imports, skipped={*known, f"{root.name}.stages"})
    if model:
        target = library.get(model, model)
        source, separator, name = target.rpartition(":")
        if source in known:
            imports = {_Import(source)}
        elif separator and source.endswith(".py"):
            digest, imports = _user_model(root, Path(source))
            code += digest
        else:
            raise ModelError(
                f"model must be a name of the library ({listed(library)}) or path/to/file.py:ClassName. "
                f"Received: {model!r}.{did_you_mean(model, library)}"
            )
        code += name
        found |= _closure(root, imports, skipped={f"{root.name}.stages"})
    parts = [code, *(f"{name} {digest}" for name, digest in sorted(found.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def content_hash(container: object) -> str:
    """Return the SHA-256 of what a container holds, whatever its layout in memory.

    The order of a parameter table counts, that of any other mapping does not. A whole number and
    the float of the same value are equal.

    Args:
        container: a dataclass of ``odynn.data``, an array, or plain values.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: if it holds something that is neither a dataclass, an array nor plain.

    >>> content_hash({"a": 1, "b": 2.0}) == content_hash({"b": 2, "a": 1})
    True
    """
    digest = hashlib.sha256()
    for part in _parts(container):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def file_hash(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        StorageError: if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(
            f"'{path}' must be a file that can be read. Received: {error.strerror}. Correct the path."
        ) from error


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that numbers depend on, as installed.

    >>> "numpy" in versions()
    True
    """
    return dict(_versions())


def stamp(
    stage: str,
    settings: Mapping,
    inputs: Mapping[str, object] | None = None,
    *,
    package_root: str | os.PathLike | None = None,
) -> dict:
    """Return what a file should say of how it was made; the writers of ``odynn.storage`` take it.

    Args:
        stage: name of a function of ``odynn/stages.py``.
        settings: the settings that the stage was given.
        inputs: the containers that it read, by name; text is taken as a hash.
        package_root: see ``code_fingerprint``.

    Returns:
        ``stage``, ``code_fingerprint``, ``versions``, ``inputs`` (a hash each), ``settings``, and
        ``seed`` and ``precision`` if the settings have them. No clock, no machine: of a path that is
        absolute only the file name is kept.
    """
    target, starts = settings.get("target") or {}, settings.get("starts") or {}
    synthetic = target.get("synthetic") or {}
    hashes = {
        name: value if isinstance(value, str) else content_hash(value)
        for name, value in sorted((inputs or {}).items())
    }
    found = {
        "stage": stage,
        "code_fingerprint": code_fingerprint(stage, settings.get("model") or "", package_root=package_root),
        "seed": starts.get("seed", synthetic.get("seed")),
        "precision": settings.get("precision"),
        "versions": versions(),
        "inputs": hashes,
        "settings": _portable(settings),
    }
    return {key: value for key, value in found.items() if value is not None}


class _Import(NamedTuple):
    """``import module``, or ``from module import name``."""

    module: str
    name: str = ""


class _Module(NamedTuple):
    """A module's code as a hash, and its imports: those made at once, and all."""

    digest: str
    at_once: frozenset[_Import]
    every: frozenset[_Import]


def _closure(root: Path, imports: Iterable[_Import], skipped: set[str]) -> dict[str, str]:
    """Return the hash of each module of the package that the imports lead to.

    Importing ``a.b.c`` runs ``a/__init__.py`` too, but no function in it: of the packages above a
    module only the imports made at once are followed.
    """
    found: dict[str, bool] = {}
    waiting = [(name, True) for name in _names_of(root, imports)]
    while waiting:
        name, whole = waiting.pop()
        path = _file_of(root, name)
        if path is None or name in skipped or found.get(name, -1) >= whole:
            continue
        found[name] = whole
        module = _module(path, name)
        waiting += [(other, True) for other in _names_of(root, module.every if whole else module.at_once)]
        waiting += [(name[:place], False) for place, letter in enumerate(name) if letter == "."]
    return {name: _module(_file_of(root, name), name).digest for name in found}


def _names_of(root: Path, imports: Iterable[_Import]) -> Iterator[str]:
    """Give the module that each import names: ``from a import b`` may name ``a`` or ``a.b``."""
    for module, name in imports:
        yield f"{module}.{name}" if name and _file_of(root, f"{module}.{name}") else module


def _file_of(root: Path, name: str) -> Path | None:
    head, *rest = name.split(".")
    if head != root.name:
        return None
    folder = root.joinpath(*rest)
    candidates = [folder / "__init__.py", *([folder.with_name(f"{folder.name}.py")] if rest else [])]
    return next((path for path in candidates if path.is_file()), None)


def _module(path: Path, name: str) -> _Module:
    about = path.stat()
    return _parsed_module(path, name, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=None)
def _parsed_module(path: Path, name: str, _mtime: int, _size: int) -> _Module:
    source = path.read_bytes()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return _Module(hashlib.sha256(source).hexdigest(), frozenset(), frozenset())
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    imports = list(_imports(tree.body, package))
    at_once = frozenset(found for found, in_function in imports if not in_function)
    return _Module(_digest([tree]), at_once, frozenset(found for found, _ in imports))


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
            typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for part in ("body", "orelse", "handlers", "finalbody", "cases"):
                if not (typing_only and part == "body"):
                    waits = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                    yield from _imports(getattr(node, part, ()), package, waits)


def _stage_code(root: Path, stage: str) -> tuple[str, set[_Import]]:
    """Return the hash of a stage's code in ``stages.py``, and the imports that it runs."""
    path = root / "stages.py"
    try:
        about = path.stat()
    except OSError as error:
        raise OdynnError(f"'{path}' must hold the stages. Received: no such file. Reinstall odynn.") from error
    body, defined, used = _parsed_stages(path, about.st_mtime_ns, about.st_size)
    if stage not in defined:
        known = [name for name, node in defined.items() if isinstance(node, ast.FunctionDef)]
        raise OdynnError(
            f"stage must be a function of '{path}'. Received: {stage!r}.{did_you_mean(stage, known)}"
        )
    # Statements that define nothing run for every stage.
    always = [node for node in body if not _defined(node) and not _is_docstring(node)]
    waiting, reached = [stage, *(name for node in always for name in _names_in([node]))], set()
    while waiting:
        name = waiting.pop()
        if name in defined and name not in reached:
            reached.add(name)
            waiting += used[name]
    nodes = always + [defined[name] for name in sorted(reached)]
    imports = [found for found, in_function in _imports(body, [root.name]) if not in_function]
    imports += [found for found, _ in _imports(nodes, [root.name])]
    return _digest(nodes), set(imports)


@lru_cache(maxsize=None)
def _parsed_stages(path: Path, _mtime: int, _size: int) -> tuple[list, dict, dict]:
    """Return the statements, the node that defines each name, and the global names that each uses."""
    source = path.read_text(encoding="utf-8")
    body = ast.parse(source).body
    defined = {name: node for statement in body for name, node in _defined(statement).items()}
    # A symbol table tells a global name from an argument called alike: `fit` is a stage and a file.
    tables: dict[str, set[str]] = {}
    for table in symtable.symtable(source, str(path), "exec").get_children():
        tables.setdefault(table.get_name(), set()).update(_globals_of(table))
    used = {}
    for name, node in defined.items():
        if isinstance(node, _DEFINITIONS):
            outside = [part for field, part in ast.iter_fields(node) if field != "body"]
            used[name] = _names_in(outside) | tables.get(name, set())
        else:
            used[name] = _names_in([node])
    return body, defined, used


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _defined(node: ast.stmt) -> dict[str, ast.AST]:
    """Return the names that a statement defines; an import of several names counts as several."""
    if isinstance(node, _DEFINITIONS):
        return {node.name: node}
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.split(".")[0]: ast.Import([alias]) for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        one = {alias.asname or alias.name: alias for alias in node.names}
        return {name: ast.ImportFrom(node.module, [alias], node.level) for name, alias in one.items()}
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return {name: node for name in _names_in(targets)}
    return {}


def _names_in(nodes: Iterable) -> set[str]:
    flat = [node for part in nodes for node in (part if isinstance(part, list) else [part])]
    trees = [node for node in flat if isinstance(node, ast.AST)]
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _globals_of(table: symtable.SymbolTable) -> set[str]:
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return own.union(*(_globals_of(child) for child in table.get_children()))
