"""docs/reference.md lists the public names of the package, all of them and nothing else."""

import ast
import re
from importlib import import_module

from tests.demo_process import ROOT

PAGE = (ROOT / "docs/reference.md").read_text()
LISTED = re.findall(r"^\| `([\w.]+)` \| .+ \|$", PAGE, re.MULTILINE)
PUBLIC = [
    "access", "audit", "backends", "conf", "consent", "decorators", "documents", "errors", "fields", "freshness", "kyc",
    "middleware", "mixins", "models", "ninja", "pipeline", "rest_framework", "scopes", "signals", "tasks", "testing", "tokens",
    "urls", "views",
]  # fmt: skip


def test_table_has_a_line_for_every_public_name_in_order():
    exported = [f"django_eprospera.{name}.{each}"
                for name in PUBLIC for each in import_module(f"django_eprospera.{name}").__all__]  # fmt: skip
    assert sorted(exported) == LISTED


def test_every_name_of_the_table_can_be_imported():
    for name in LISTED:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name


def test_example_imports_listed_names():
    imports = [node for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) for node in ast.walk(ast.parse(code))
               if isinstance(node, ast.ImportFrom)]  # fmt: skip
    assert {f"{node.module}.{each.name}" for node in imports for each in node.names} - set(LISTED) == set()
