"""Fixtures for several folders of tests: scripted providers, and invented distributions that child processes see."""

import os
import signal
import subprocess
import sys
import textwrap

import hypothesis
import pytest

from providerhub import Finish

# A background job of a shell without job control ignores Ctrl-C, and so do its children. Tests that send Ctrl-C would wait for
# ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: on a busy machine an example may take long. The benchmarks measure time.
if hypothesis.settings().deadline is not None:  # mutation testing has a profile of its own
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def _kept_lists(tmp_path_factory):
    """Let the core, the command line and the plugins keep their files in a folder of the tests, not in the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
        patch.setenv("PROVIDERHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


class Scripted:
    """A provider that plays one script a call, the last one for ever; an exception among the pieces is raised."""

    def __init__(self, *scripts):
        self.scripts = list(scripts) or [["Hel", "lo", Finish()]]
        self.requests = []
        self.opened = self.closed = 0
        self.calls = []

    def stream(self, request, call):
        self.requests.append(request)
        self.calls.append(call)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if isinstance(script, BaseException):
            raise script
        return script() if callable(script) else self._play(script)

    def _play(self, script):
        self.opened += 1
        try:
            for piece in script:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self.closed += 1


@pytest.fixture
def scripted():
    return Scripted


LIGHT = """
from providerhub import ModelInfo, ProviderInfo, Setting, hookimpl

@hookimpl
def providerhub_provider():
    return ProviderInfo(name={name!r}, models=(ModelInfo({model!r}),), factory="{module}_heavy:create")
"""

HEAVY = """
class Echo:
    def __init__(self, config):
        self.config = config

    def stream(self, request, call):
        yield f"{self.config.name} says: "
        yield request.messages[-1]["content"]

create = Echo
"""


class Site:
    """A folder of installed distributions, and child Pythons that see it."""

    def __init__(self, path):
        self.path = path

    def write(self, name, text):
        (self.path / name).write_text(textwrap.dedent(text), encoding="utf-8")

    def distribution(self, name, entry_points, version="1.0"):
        folder = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (folder / "METADATA").write_text(metadata, encoding="utf-8")
        (folder / "entry_points.txt").write_text(textwrap.dedent(entry_points), encoding="utf-8")

    def plugin(self, name, code=LIGHT, *, model=None, distribution=None, module=None, entry=None):
        module = module or f"plug_{name.replace('-', '_')}"
        text = code
        if code is LIGHT:
            text = LIGHT.format(name=name, model=model or f"{name}-model", module=module)
        self.write(f"{module}.py", text)
        self.write(f"{module}_heavy.py", HEAVY)
        self.distribution(distribution or f"dist-{name}", f"[providerhub]\n{entry or name} = {module}\n")

    def run(self, code, *, code_expected=0, **environ):
        path = os.pathsep.join(filter(None, [str(self.path), os.environ.get("PYTHONPATH", "")]))
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            env=os.environ | {"PYTHONPATH": path} | environ,
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code_expected, done.stderr
        return done.stdout


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)
