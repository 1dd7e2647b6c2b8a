"""FailoverBench, a public harness for the failover of libraries. The test runs if `FAILOVERBENCH` names a checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROW = Path(__file__).with_name("failoverbench_row.py")
FOLDER = os.environ.get("FAILOVERBENCH")


@pytest.mark.skipif(not FOLDER, reason="FAILOVERBENCH names no checkout of the harness")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "passed"), [("defaults", 11), ("careful", 16)])
def test_the_scorecard(tmp_path, kind, passed):
    for module in ("httpx", "yaml"):
        pytest.importorskip(module, reason="the harness needs it")
    command = [sys.executable, ROW, FOLDER, kind, tmp_path]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": FOLDER})
    found = json.loads((tmp_path / "full" / f"{kind}.json").read_text("utf-8"))
    verdicts = {scenario["id"]: (scenario["verdict"], scenario["reason"]) for scenario in found["scenarios"]}
    assert found["summary"]["fail"] == 0, verdicts
    assert found["summary"]["pass"] >= passed, verdicts
