"""Install servers of other projects, each into its own environment, since they pin other versions of dependencies.

    python servers.py DIRECTORY

If a server cannot be installed in time, a file holds the reason. The tests show it as the reason of their skip.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

SERVERS = {
    "litellm": ["litellm[proxy]>=1.80"],
    "xllamacpp": ["xllamacpp", "gguf>=0.17", "numpy"],
    "llama_cpp": ["llama-cpp-python[server]>=0.3", "gguf>=0.17", "numpy"],
}
"""Name → what pip is asked for. llama-cpp-python is compiled here, which takes a C++ compiler and some minutes; xllamacpp, with
llama.cpp's own server, has wheels."""

PATIENCE = 1500.0
"""Seconds for one of them."""


def install(name: str, folder: Path) -> str:
    """Install one server.

    Args:
        name: Its name in `SERVERS`.
        folder: Where environments are kept; one that is there already is left as it is.

    Returns:
        Why it could not be installed; empty when it was.
    """
    home, failed = folder / name, folder / f"{name}.failed"
    if (home / "installed").exists():
        return ""
    failed.unlink(missing_ok=True)
    venv.create(home, clear=True, with_pip=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # The bundled pip may be too old to find compatible versions.
    subprocess.run([*pip, "--upgrade", "pip"], check=False)
    command = [*pip, "--prefer-binary", *SERVERS[name]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        reason = "" if done.returncode == 0 else f"pip could not install it: {_last_line(done.stderr)}"
    except subprocess.TimeoutExpired:
        reason = f"pip did not install it within {PATIENCE:g} s"
    if reason:
        failed.write_text(reason, "utf-8")
    else:
        (home / "installed").touch()
    return reason


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))]
    return lines[-1][:300] if lines else "it says nothing"


def main() -> None:
    """Install all of them; print what came of it."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in SERVERS:
        print(f"{name}: {install(name, folder) or 'installed'}", flush=True)


if __name__ == "__main__":
    main()
