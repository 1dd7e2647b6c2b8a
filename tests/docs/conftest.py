"""Runs the code in the documentation: the blocks of a page from top to bottom, in one namespace and one folder.

Python blocks are executed. bash runs the commands of `console` blocks, and shown output is compared. TOML and JSON are parsed. A
comment on the line above a block adds to this:

    <!-- file: NAME -->       the block is written to that file in the page's folder (and also run, unless it is Python)
    <!-- output -->           the block is the output of the Python block before it; `...` stands for any text
    <!-- settings -->         a hub is made from the block
    <!-- not run: REASON -->  the block cannot be run here
    <!-- with vendors -->     on a page: the plugins call a server on loopback that answers like four vendors
    <!-- run unseen           Python inside the comment, which readers do not see
    ... -->

Every page has a sandbox of the Lockchat plugin on loopback: `LOCKCHAT_URL` is its address.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import sysconfig
import textwrap
import tomllib
from pathlib import Path

import pytest

import providerhub._default
from providerhub_lockchat.sandbox import serve

ROOT = Path(__file__).resolve().parents[2]
serve_vendors = runpy.run_path(str(Path(__file__).with_name("vendors.py")))["serve_vendors"]
# tools/cli_examples.py makes and checks the examples of the command line.
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md")
    for page in ROOT.glob(pattern)
    if not any(page.is_relative_to(ROOT / "docs" / folder) for folder in ("changelog", "_build", "reference/cli-examples"))
)
BLOCK = re.compile(
    r"^<!-- run unseen\n(?P<unseen>.*?)-->$"
    r"|(?:^[ ]*<!-- (?P<note>[^\n]*?) -->\n)?^[ ]*(?P<fence>`{3,})(?P<language>[^\n]*)\n(?P<text>.*?)^[ ]*(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
PIP = """#!{python}
# What is shown to be installed from a folder is installed beside the page; what comes from an index must be here already.
import importlib.metadata, os, re, sys
wanted = sys.argv[2:]
if not any(os.path.isdir(word) or word.startswith("-") for word in wanted):
    missing = []
    for word in wanted:
        try:
            importlib.metadata.version(re.match(r"[\\w.-]+", word)[0])
        except importlib.metadata.PackageNotFoundError:
            missing.append(word)
    sys.exit(f"not installed here: {{missing}}" if missing else 0)
fixed = ["--no-deps", "--no-build-isolation", "--no-index", "--target", {site!r}]
os.execv(sys.executable, [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *sys.argv[1:], *fixed])
"""


class Block:
    """One block of a page."""

    def __init__(self, match, line):
        self.line = line
        self.language = "python" if match["unseen"] is not None else match["language"].strip()
        self.text = match["unseen"] if match["unseen"] is not None else textwrap.dedent(match["text"])
        self.note, _, self.argument = (match["note"] or "").replace("example: plugin ", "file: ").partition(": ")

    @property
    def skipped(self):
        return self.note == "not run"


def blocks(text):
    """The blocks of a page; the line of each is that before its first."""
    for match in BLOCK.finditer(text):
        first = match.start("unseen" if match["unseen"] is not None else "text")
        yield Block(match, text.count("\n", 0, first))


def _same(shown, got):
    return doctest.OutputChecker().check_output(shown, got, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)


class Runner:
    """Carries out one page's blocks."""

    def __init__(self, page, folder):
        self.page = page
        self.folder = folder
        self.namespace = {"__name__": "page"}
        self.printed = ""
        self.directory = folder

    def run(self):
        text = self.page.read_text("utf-8")
        with serve_vendors() if "<!-- with vendors -->" in text else contextlib.nullcontext({}) as addresses:
            os.environ.update(addresses)
            self._run(text)

    def _run(self, text):
        for block in blocks(text):
            if block.skipped or block.language.startswith("{"):
                continue
            __tracebackhide__ = True
            where = f"{self.page.relative_to(ROOT)}:{block.line + 1}"
            if block.note == "file":
                self._write(block)
            if block.note == "output":
                assert _same(block.text, self.printed), f"{where} shows:\n{block.text}\nbut this was printed:\n{self.printed}"
            elif block.note == "settings":
                self._settings(block)
            elif block.note != "file" or block.language != "python":
                self._act(block, where)

    def _act(self, block, where):
        if block.language == "python":
            self._python(block)
        elif block.language == "console":
            self._console(block, where)
        elif block.language in {"toml", "json"}:
            {"toml": tomllib, "json": json}[block.language].loads(block.text)
        else:
            assert block.note == "file" or block.language == "text", f"{where}: nobody knows how to run {block.language!r}"

    def _write(self, block):
        target = self.folder / block.argument
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, "utf-8")

    def _settings(self, block):
        target = self.folder / "shown.toml"
        target.write_text(block.text, "utf-8")
        os.environ["PROVIDERHUB_CONFIG"] = str(target)
        with providerhub.Hub() as hub:
            assert hub.settings.origins
        del os.environ["PROVIDERHUB_CONFIG"]

    def _python(self, block):
        code = compile("\n" * block.line + block.text, str(self.page), "exec", dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, self.namespace)
        self.printed = printed.getvalue()

    def _console(self, block, where):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            count = next((n for n, line in enumerate(lines, 1) if not line.endswith("\\\n")), len(lines))
            self._command("".join(lines[:count]).strip(), "".join(lines[count:]), where)

    def _command(self, command, shown, where):
        first, *rest = shlex.split(command, comments=True)
        if first == "export":
            os.environ.update(word.split("=", 1) for word in rest)
        elif first == "cd":
            self.directory = (self.directory / rest[0]).resolve()
        else:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command], cwd=self.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, encoding="utf-8", timeout=110, check=False,
            )  # fmt: skip
            expects_failure = "[exit status" in shown
            assert expects_failure == bool(done.returncode), f"{where}: {command!r} ended with {done.returncode}:\n{done.stdout}"
            if expects_failure:
                done.stdout += f"[exit status {done.returncode}]\n"
            assert not shown.strip() or _same(shown, done.stdout), f"{where}: {command!r} printed:\n{done.stdout}"


def _shims(folder):
    site, scripts = folder / ".site", folder / ".bin"
    site.mkdir()
    scripts.mkdir()
    pip = scripts / "pip"
    pip.write_text(PIP.format(python=sys.executable, site=str(site)), "utf-8")
    pip.chmod(0o755)
    return site, scripts


@pytest.fixture
def run_page(tmp_path, monkeypatch):
    """Run a page as a reader would, who has nothing configured but the sandbox."""
    for name in [name for name in os.environ if name.startswith(("PROVIDERHUB_", "LOCKCHAT_"))]:
        monkeypatch.delenv(name)
    site, scripts = _shims(tmp_path)
    known = set(sys.modules)
    path = os.pathsep.join([str(scripts), sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    plain = {"NO_COLOR": "1", "COLUMNS": "100", "PYTHONPATH": str(site), "PATH": path, "HOME": str(tmp_path), "PYTHONUTF8": "1"}
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(providerhub._default, "_default", None)
    with serve(delay=0) as url:
        monkeypatch.setenv("LOCKCHAT_URL", url)
        before = dict(os.environ)
        yield lambda page: Runner(page, tmp_path).run()
        if providerhub._default._default is not None:
            providerhub._default._default.close()
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
    for name in sys.modules.keys() - known:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def shown():
    """Every block of every page: `(page, block)`."""
    return [(page, block) for page in PAGES for block in blocks(page.read_text("utf-8"))]


@pytest.fixture
def root():
    """The checkout."""
    return ROOT


def pytest_generate_tests(metafunc):
    """`page` stands for each page in turn."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
