"""References between pages, and from code to pages, name files and headings that exist."""

import re
from functools import cache

import pytest

from tests.demo_process import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = ["django_eprospera", "example_project", "tests", "benchmarks"]


@cache
def anchors(page):
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = []
    for heading in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip())
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        repeated = found.count(slug)
        found.append(f"{slug}-{repeated}" if repeated else slug)
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name} links to {target}, and there is no such file"
            assert not anchor or anchor in anchors(file), f"{page.name} links to {target}, and there is no such heading"


def test_code_refers_to_headings_that_exist():
    references = [
        (f"{file.relative_to(ROOT)}", page, anchor)
        for folder in CODE
        for file in sorted((ROOT / folder).rglob("*.py"))
        for page, anchor in re.findall(r"(docs/[\w.-]+\.md)(?:#([\w-]+))?", file.read_text())
    ]
    assert references
    for file, page, anchor in references:
        assert (ROOT / page).exists(), f"{file} refers to {page}, and there is no such page"
        assert not anchor or anchor in anchors(ROOT / page), f"{file} refers to {page}#{anchor}: no such heading"
