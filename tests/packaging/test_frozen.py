"""An application that PyInstaller has frozen finds the core, its plugins and their entry points."""

import json
import subprocess
import sys

import pytest

APP = """
import json
from providerhub import Hub, ProviderConfig, Settings
from providerhub_lockchat.sandbox import serve

with serve() as url, Hub(Settings(providers={"lockchat": ProviderConfig(url=url)})) as hub:
    names = [view.name for view in hub.instances()]
    print(json.dumps([names, hub.complete("gpt-4", "Hello").text]))
"""


@pytest.mark.once
def test_a_frozen_application_answers(tmp_path):
    pytest.importorskip("PyInstaller", reason="PyInstaller is not installed: run tox -e frozen")
    (tmp_path / "app.py").write_text(APP, "utf-8")
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--onedir", "--log-level", "ERROR", "app.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=110, stdout=subprocess.DEVNULL)
    done = subprocess.run([tmp_path / "dist" / "app" / "app"], capture_output=True, encoding="utf-8", timeout=60, check=True)
    names, text = json.loads(done.stdout)
    assert "lockchat" in names
    assert "Hello" in text
