"""Every text of ours is said in Spanish: in the package, in the sandbox and in the example site. Needs no gettext tools."""

import ast
import gettext
import re
from collections import Counter
from pathlib import Path

import pytest
from django.utils.translation import override
from django.utils.translation.template import templatize

from django_eprospera import scopes

ROOT = Path(__file__).parents[1]
PACKAGE, SANDBOX, EXAMPLE = ROOT / "django_eprospera", ROOT / "django_eprospera/sandbox", ROOT / "example_project"
SCOPES = PACKAGE / "scopes.py"
PROJECTS = pytest.mark.parametrize("project", [PACKAGE, SANDBOX, EXAMPLE], ids=lambda project: project.name)

CALLS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
CALL_IN_TEMPLATE = re.compile(r"""\b(?:_|n?gettext)\(u?("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}|`[^`]+`|</?\w+>")


def catalogue(project):
    return project / "locale/es/LC_MESSAGES/django.po"


def entries(po):
    """One dictionary for each entry: `flags`, and the texts by their keyword (`msgid`, `msgstr`, `msgstr[1]` …)."""
    for block in po.read_text(encoding="utf-8").split("\n\n"):
        entry, keyword = {"flags": ""}, ""
        for line in filter(None, block.splitlines()):
            if line.startswith("#"):
                entry["flags"] += line + "\n"
                continue
            word, text = re.fullmatch(r'(?:(msg\S+) )?(".*")', line).groups()
            keyword = word or keyword
            entry[keyword] = entry.get(keyword, "") + ast.literal_eval(text)
        yield entry


def said(entry):
    return {keyword: text for keyword, text in entry.items() if keyword.startswith("msgstr")}


def sources(project, ending):
    found = set(project.rglob(f"*{ending}"))
    if project == PACKAGE:
        return {path for path in found if SANDBOX not in path.parents}
    # The sandbox is a site of its own, without the package's catalogue, and shows what the scopes mean.
    return found | {SCOPES} if project == SANDBOX and ending == ".py" else found


def texts(project):
    """Every text that the code and the templates give to gettext."""
    for path in sources(project, ".py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in CALLS:
                assert not isinstance(node.args[0], ast.JoinedStr | ast.BinOp), (
                    f"{path}:{node.lineno}: put values in afterwards"
                )
                if isinstance(node.args[0], ast.Constant):  # else it was marked where it was written
                    yield node.args[0].value
    for path in sources(project, ".html") | sources(project, ".txt"):
        for literal in CALL_IN_TEMPLATE.findall(templatize(path.read_text(encoding="utf-8"))):
            yield ast.literal_eval(literal)


def test_every_catalogue_is_looked_at():
    found = {*PACKAGE.rglob("*.po"), *EXAMPLE.rglob("*.po")}
    assert found == {catalogue(project) for project in (PACKAGE, SANDBOX, EXAMPLE)}


@PROJECTS
def test_every_text_has_an_entry_and_every_entry_a_text(project):
    listed = Counter(entry["msgid"] for entry in entries(catalogue(project)) if entry["msgid"])
    assert set(listed) == set(texts(project))
    assert set(listed.values()) == {1}


@PROJECTS
def test_every_entry_is_translated_and_none_is_a_guess(project):
    for entry in entries(catalogue(project)):
        assert all(said(entry).values()), entry
        assert len(said(entry)) == (2 if "msgid_plural" in entry else 1), entry
        assert "fuzzy" not in entry["flags"], entry


@PROJECTS
def test_placeholders_and_marks_are_the_same_in_both_languages(project):
    for entry in entries(catalogue(project)):
        if entry["msgid"]:
            for translation in said(entry).values():
                assert sorted(PLACEHOLDER.findall(translation)) == sorted(PLACEHOLDER.findall(entry["msgid"])), entry


@PROJECTS
def test_everybody_is_addressed_formally(project):
    for entry in entries(catalogue(project)):
        for translation in said(entry).values():
            assert not re.search(
                r"\b(tu|tus|tú|ti|te|contigo|tienes|puedes|tuy[oa]s?)\b", translation, re.IGNORECASE
            ), entry


@PROJECTS
def test_what_is_loaded_was_compiled_from_what_is_read(project):
    expected = {}
    for entry in entries(catalogue(project)):
        for keyword, translation in said(entry).items():
            form = re.search(r"\d+", keyword)
            expected[(entry["msgid"], int(form[0])) if form else entry["msgid"]] = translation
    with catalogue(project).with_suffix(".mo").open("rb") as compiled:
        assert gettext.GNUTranslations(compiled)._catalog == expected, "run `make messages`"


def test_a_scope_means_the_same_to_the_package_and_to_the_sandbox():
    sandbox = {entry["msgid"]: entry["msgstr"] for entry in entries(catalogue(SANDBOX)) if "msgstr" in entry}
    english = {scope: str(label) for scope, label in scopes.LABELS.items()}
    with override("es"):
        spanish = {scope: str(label) for scope, label in scopes.LABELS.items()}
    assert spanish == {scope: sandbox[label] for scope, label in english.items()}
