"""The figures as a table of Markdown, and docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = ("What", "Figure", "Rounds", "Goal", "Figure ÷ goal", "Met")
TEXT = """# Benchmarks

What the package costs, beside the goals for it. This page was written by `make bench ARGS="{arguments}"`. \
`make bench ARGS=--quick` measures anew in some minutes.

{versions}

{machine}

- *CPU* is that of the process and of the PostgreSQL backends that serve it. It is divided by the CPU of something bare that \
does the same and is called in turns with it. The figure is the ratio of the medians of all rounds; *Rounds* has the lowest \
and the highest ratio. Other work on the machine moves a ratio too, by up to a half where each side takes milliseconds.
- The provider is the sandbox in a process of its own, whose CPU does not count. *Bare calls* are those of a \
`requests.Session` to the same URLs.
- *Queries* are SQL statements, without those that begin and end transactions.
- People are copies of one person, which `benchmarks/filler.py` makes with COPY. Each row is sealed for itself, and opens.

{table}
"""


def table(rows):
    """Return the rows as a table."""
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def write(rows, machine, arguments):
    """Write the page of the documentation."""
    PAGE.write_text(
        TEXT.format(arguments=arguments, versions=machine.versions(), machine=machine.describe(), table=table(rows))
    )


def _cells(row):
    between = "" if row.low is None else f"{row.low:.2f} to {row.high:.2f}"
    if row.goal is None:
        return row.what, row.shown, between, "", "", ""
    goal = f"{'≥' if row.at_least else '≤'} {row.goal:g}"
    return (
        row.what,
        row.shown,
        between,
        goal,
        f"{row.figure / row.goal:.2f}" if row.goal else "",
        "yes" if row.met else "**no**",
    )
