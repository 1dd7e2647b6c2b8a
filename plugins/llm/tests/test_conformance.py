"""The kit's checks, none of them waived."""

import pytest

from providerhub_llm.conformance import LlmConformance


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))


class TestLlm(LlmConformance):
    pass
