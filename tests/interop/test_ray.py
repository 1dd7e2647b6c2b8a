"""The lines for Ray's executor in the guide to batches."""

import re
import tempfile
from pathlib import Path

import pytest

from providerhub import Hub, Settings
from providerhub.testing import FaultServer, http_response, openai_completion

ray = pytest.importorskip("ray", reason="Ray is not installed; `tox -e interop` installs it where pip finds a wheel")

pytestmark = [pytest.mark.unix, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(240)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "batch.md"
CANARY = "sk-canary-5f2c"


@pytest.fixture
def folder():
    """A folder with a short name: the sockets of Ray lie in it."""
    with tempfile.TemporaryDirectory(prefix="ray-") as name:
        yield Path(name)


def test_the_guide_s_executor_makes_the_calls(monkeypatch, folder):
    [lines] = [text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "import ray" in text]
    names = {"__name__": "__main__"}
    with FaultServer(http_response(body=openai_completion("fine")), repeat=True) as server:
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        ray.init(num_cpus=2, include_dashboard=False, _temp_dir=str(folder))
        try:
            exec(lines, names)
            rows = ({"model": "openai/m", "messages": "Hello"} for _ in range(20))
            with Hub(Settings(allow=("openai",))) as hub:
                outcomes = list(hub.complete_many(rows, concurrency=4, executor=names["RayExecutor"]()))
        finally:
            ray.shutdown()
        assert {outcome.unwrap().text for outcome in outcomes} == {"fine"}
        assert len(server.requests) == 20
    written = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    assert [path for path in written if CANARY.encode() in path.read_bytes()] == []
