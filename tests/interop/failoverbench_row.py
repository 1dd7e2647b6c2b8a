"""One row of FailoverBench's scorecard: the 16 scenarios of this public harness, asked through a hub.

    PYTHONPATH=CHECKOUT python failoverbench_row.py CHECKOUT {defaults,careful} OUT [--profile full] [--only S01,S08]

The harness plays a provider that fails on purpose. It checks the caller's result and the number of requests. Two instances of the
plugin for OpenAI's protocol stand for two vendors, as `["primary/<model>", "fallback/<model>"]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from failoverbench.adapters import REGISTRY
from failoverbench.adapters.base import Adapter, CallResult
from failoverbench.runner import run_system

import providerhub
from providerhub import ProviderConfig, Restarted, TextDelta, Timeout

CAREFUL = Timeout(first_token=10, head=10, byte_idle=10, token_idle=10)
"""The seconds of a caller who knows that the models asked begin within 10 s, and pause no longer."""


class ProviderHubRow(Adapter):
    """A hub with its defaults, or with the settings that a careful user would choose."""

    name = "providerhub"
    capabilities = {"fallback": True, "streaming": True}  # noqa: RUF012 -- the harness's own interface

    async def start(self):
        config = {
            name: ProviderConfig(plugin="openai", url=f"{self.wall_base}/v1", api_key="none") for name in ("primary", "fallback")
        }
        self._hub = providerhub.Hub(providerhub.Settings(providers=config, allow=("openai",)))
        self._knobs = {"timeout": CAREFUL, "on_interrupt": "restart"} if self.params["careful"] else {}

    async def complete(self, primary, fallback, stream, messages, deadline_s):
        """Ask as an application would; the result is what it has in the end."""
        start, texts, models = time.monotonic(), [], [f"primary/{primary}"]
        if fallback:
            models.append(f"fallback/{fallback}")
        try:
            if not stream:
                answer = await self._hub.acomplete(models, messages, **self._knobs)
                texts = [answer.text]
            elif self.params["careful"]:
                async with await self._hub.acomplete(models, messages, stream=True, **self._knobs) as opened:
                    async for event in opened.events():
                        if isinstance(event, Restarted):
                            texts.clear()
                        elif isinstance(event, TextDelta):
                            texts.append(event.text)
                answer = opened.completion
            else:
                async with await self._hub.acomplete(models, messages, stream=True) as opened:
                    texts = [text async for text in opened]
                answer = opened.completion
        except providerhub.ProviderHubError as error:
            return CallResult(ok=False, error=f"{type(error).__name__}: {error}", elapsed_s=time.monotonic() - start)
        used = answer.usage and {"prompt_tokens": answer.usage.input_tokens, "completion_tokens": answer.usage.output_tokens}
        return CallResult(
            ok=True, content="".join(texts), reported_model=answer.model, usage=used, elapsed_s=time.monotonic() - start
        )

    async def close(self):
        await self._hub.aclose()


def row(checkout: Path, kind: str, out: Path, *, profile: str = "full", only: set[str] | None = None) -> dict:
    """Run one row of the scorecard and return the harness's own document."""
    REGISTRY[ProviderHubRow.name] = ProviderHubRow
    system = out / "system.yaml"
    system.write_text(json.dumps({"name": kind, "adapter": ProviderHubRow.name, "params": {"careful": kind == "careful"}}))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    command = [sys.executable, "-m", "failoverbench", "wall", "--host", "127.0.0.1", "--port", str(port), "--profile", profile]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as wall:
        try:
            assert "listening" in wall.stderr.readline()
            catalogue = str(checkout / "scenarios" / "catalogue.yaml")
            running = run_system(str(system), catalogue, f"http://127.0.0.1:{port}", profile, only, str(out))
            return json.loads(Path(asyncio.run(running)).read_text())
        finally:
            wall.terminate()


def main() -> None:
    """Print the row as the harness writes it."""
    reader = argparse.ArgumentParser()
    reader.add_argument("checkout", type=Path)
    reader.add_argument("kind", choices=["defaults", "careful"])
    reader.add_argument("out", type=Path)
    reader.add_argument("--profile", choices=["fast", "full"], default="full")
    reader.add_argument("--only", default="")
    given = reader.parse_args()
    only = {name for name in given.only.split(",") if name} or None
    print(row(given.checkout, given.kind, given.out, profile=given.profile, only=only)["summary"])


if __name__ == "__main__":
    main()
