"""Reading a YAML file strictly: what YAML lets pass in silence is an error here.

That is a key given twice (YAML keeps the last one) and a number such as 010 or 1:30 (YAML reads 8
and 90).
"""

import os
import re
from pathlib import Path

import yaml

from odynn.config_problems import dotted
from odynn.errors import ConfigError

_MISREAD = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


def read_yaml(path: str | os.PathLike) -> object:
    """Return the content of a YAML file.

    Raises:
        ConfigError: the file is not there, is not text, breaks YAML's rules, gives a key twice, or
            has a number that YAML would read as another one.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file. Expected a configuration file. "
            f"Received: {Path(path).absolute()}. Give its path from the working directory."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: the file is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}). "
            "Save it as UTF-8."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: the file cannot be read ({error.strerror}). Expected a text file that you may read."
        ) from None
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        problems = [f"{path}:{line}: {text}" for line, text in _find_traps(node)]
        if problems:
            raise ConfigError("\n".join(problems))
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_explain(error)}") from None
    except ValueError as error:  # such as the date 2024-13-45
        raise ConfigError(f"{path}: a value cannot be read ({error}). Put it in quotes.") from None
    finally:
        loader.dispose()


def _explain(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f":{mark.line + 1}" if mark else ""
    said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    if "\\t" in said or "tab" in said:
        remedy = "Indent with spaces, not with a tab."
    elif "tag" in said:
        remedy = "Remove the tag (!…); only plain values are read."
    elif "alias" in said:
        remedy = "Put a value that begins with * in quotes, or define the anchor before it."
    elif "document" in said:
        remedy = "Keep one document: remove the line --- and what follows."
    else:
        remedy = (
            "Look at this line and the one before it: keys of one level are indented alike, lists and braces "
            "are closed, and a value with ': ', ' #', '{' or '[' in it stands in quotes."
        )
    return f"{place}: not valid YAML: {said}. {remedy}"


def _find_traps(root: yaml.Node | None) -> list[tuple[int, str]]:
    """Return the line and the problem of each key given twice and each number that is misread."""
    found: list[tuple[int, str]] = []
    seen: set[int] = set()

    def visit(node, path):
        if node is None or id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                line = key.start_mark.line + 1
                here = (*path, name)
                if name in lines and name != "<<":
                    text = f"this key is given twice, first in line {lines[name]}. Keep one of them."
                    found.append((line, f"{dotted(here)}: {text}"))
                lines.setdefault(name, line)
                visit(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for place, item in enumerate(node.value):
                visit(item, (*path, place))
        elif node.tag.endswith((":int", ":float")) and _MISREAD.fullmatch(node.value):
            value = yaml.safe_load(node.value)
            text = f"YAML reads {node.value} as {value}. Write the number without leading zeros or colons."
            found.append((node.start_mark.line + 1, f"{dotted(path)}: {text}"))

    visit(root, ())
    return found
