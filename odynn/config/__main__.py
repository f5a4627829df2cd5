"""Writes the tables of every key: ``python -m odynn.config [config/README.md]``."""

import sys
from pathlib import Path

from odynn.config import BEGIN, END, reference


def main(arguments: list[str]) -> int:
    """Write the tables of every key to standard output, or between the two marks in a file."""
    if not arguments:
        sys.stdout.write(reference())
        return 0
    path = Path(arguments[0])
    before, begin, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END + "\n")
    if not begin or not end:
        sys.stderr.write(f"{path}: expected the two lines {BEGIN} and {END}. Add them where the tables go.\n")
        return 1
    path.write_text(before + reference() + after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
