"""The code of the pages runs, their links have targets, and a block that is not run has a reason."""

from __future__ import annotations

import re
import tomllib
from collections import Counter

import pytest

pytestmark = pytest.mark.once

CODE = re.compile(r"^([ ]*)(`{3,}).*?^\1\2$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(
    r"\[(?:[^\[\]]|!?\[[^\]]*\]\([^)]*\))*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE
)
SOURCE = re.compile(r"<(?:img|a|source)\b[^>]*?\b(?:src|href|srcset)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6}[ ]+(.*?)[ ]*#*$", re.MULTILINE)
TARGET = re.compile(r"^\(([\w-]+)\)=$|\bid=\"([\w-]+)\"|\{#([\w-]+)\}", re.MULTILINE)
MARKS = {"", "example", "file", "output", "settings", "not run", "with vendors"}
OWN = re.compile(
    r"https://(?:github\.com/providerhub/providerhub/(?:blob|tree)|raw\.githubusercontent\.com/providerhub/providerhub)/main/"
)
"""The addresses of files of this repository, as a package index needs them."""


def _slug(heading):
    """The anchor of a heading, in the form of GitHub and MyST."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def _anchors(text):
    prose = CODE.sub("", text)
    found, seen = set(), Counter()
    for heading in HEADING.findall(prose):
        slug = _slug(heading)
        found.add(slug if not seen[slug] else f"{slug}-{seen[slug]}")
        seen[slug] += 1
    return found | {name for names in TARGET.findall(prose) for name in names if name}


def _links(text):
    prose = INLINE.sub("", CODE.sub("", text))
    return [one or other for one, other in LINK.findall(prose)] + SOURCE.findall(prose)


def test_what_a_page_shows_runs(page, run_page):
    run_page(page)


def test_every_link_into_the_repository_leads_somewhere(page, root):
    text = page.read_text("utf-8")
    wrong = []
    for link in _links(text):
        place = OWN.sub("/", link)
        if re.match(r"[a-z][a-z+.-]*:|\{", place):
            continue
        name, _, anchor = place.partition("#")
        target = (root / name[1:] if name.startswith("/") else page.parent / name).resolve() if name else page
        if not target.exists():
            wrong.append(f"{link}: {target} does not exist")
        elif anchor and target.suffix == ".md":
            there = _anchors(target.read_text("utf-8"))
            if anchor not in there:
                wrong.append(f"{link}: {target.name} has no heading with this anchor; it has {', '.join(sorted(there))}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["README.md", "README.ru.md"])
def test_a_page_for_a_package_index_has_absolute_links_only(root, name):
    links = _links((root / name).read_text("utf-8"))
    assert len(links) > 10
    assert not [link for link in links if not re.match(r"https:|#", link)]


def test_the_addresses_of_the_project_are_those_of_its_links(root):
    urls = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    assert OWN.match(f"{urls['Source']}/blob/main/")
    for name in ("Documentation", "Changelog"):
        assert (root / OWN.sub("", urls[name])).is_file()


def test_no_code_hides_in_an_indented_block(page):
    prose = CODE.sub("", page.read_text("utf-8"))
    assert not re.findall(r"\n\n    (?![ ]*(?:[-*+]|\d+\.) ).*", prose), (
        "fence the block and name its language, so that the tests run it"
    )


def test_every_mark_is_known(shown):
    for page, block in shown:
        assert block.note in MARKS, f"{page.name}:{block.line}: {block.note!r}"


def test_what_is_not_run_has_a_reason_and_is_little(shown):
    code = [block for _, block in shown if block.language in {"python", "console", "toml", "json"}]
    skipped = [(page.name, block) for page, block in shown if block.skipped]
    for name, block in skipped:
        assert len(block.argument.split()) >= 3, f"{name}:{block.line}: say why it is not run"
    assert len(skipped) <= len(code) / 6


@pytest.mark.parametrize(
    ("heading", "slug"),
    [("A `code` heading", "a-code-heading"), ("Да, по-русски: всё?", "да-по-русски-всё"), ("[a](b) & c", "a--c")],
)
def test_anchors_are_those_of_the_renderers(heading, slug):
    assert _slug(heading) == slug
