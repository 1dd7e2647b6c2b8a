"""Fuzz the parsers of `providerhub.wire` with atheris, for a given time: `python run.py [--seconds 600]`.

Each target runs in its own process, which stops by itself. A target fails on any exception except the documented ones, on more
memory than its limits explain, and when two ways to cut the input give different results. The script prints the folder that
keeps the failing input.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SEEDS = (
    b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n',
    b"\xef\xbb\xbfevent: delta\r\nid: 1\r\nretry: 10\r\ndata: a\r\ndata: b\r\n\r\n",
    b": comment\rdata\rdata:\xff\xe2\x80\r\rThe model does not exist\r",
    b"data: {}\n\n" * 60,
    b'{"choices":[{"delta":{"content":"a"}}],"obfuscation":"b"}\n{"choices":[{"delta":{"content":"c"}}],"obfuscation":"d"}',
    b'{"choices":[{"delta":{"content":"a"}}],"obfuscation":"b"}\n{"choices":[{"delta":{"content":"c"}}],"obfuscation":"}',
    b'{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}}],"usage":{}}',
)
RSS_LIMIT_MB = 512


def sse(raw: bytes) -> None:
    """The decoder: the first bytes choose limits and cuts, the rest is the stream."""
    from providerhub.wire.sse import SSEDecoder, SSELimitError

    header, stream = raw[:4].ljust(4, b"\0"), raw[4:]
    limits = {
        "max_line": header[0] * 4 or None,
        "max_event": header[1] * 4 or None,
        "max_stream": header[2] * 16 or None,
    }
    allowed = sum(limit or len(stream) for limit in (limits["max_line"], limits["max_event"]))

    def read(size: int) -> object:
        decoder, events = SSEDecoder(**limits), []
        try:
            for start in range(0, len(stream), size):
                events += decoder.feed_events(stream[start : start + size])
                if start % (size * 64):
                    continue
                held = sum(sys.getsizeof(getattr(decoder, slot)) for slot in SSEDecoder.__slots__)
                assert held < 3 * allowed + 64 * size + 16_384, f"{held} bytes held, limits {limits}"
            left = decoder.finish()
        except SSELimitError as error:
            return events, error.limit, error.maximum
        for event in events:
            assert event.text.encode() == event.data
        return events, decoder.done, decoder.stray, left

    assert read(header[3] + 1) == read(len(stream) + 1), "two ways to cut the input gave different results"


def openai_chat(raw: bytes) -> None:
    """Chunks, one a line: the reader gives what parsing each chunk gives; only documented errors are raised."""
    from providerhub import ProviderError
    from providerhub.wire import openai_chat as wire
    from providerhub.wire._chunk_reader import ChunkReader

    def outcome(read: Callable[[bytes], object], payload: bytes) -> object:
        try:
            return read(payload)
        except ProviderError as error:
            return type(error)

    reader, answer = ChunkReader(), wire.ChatAnswer()
    # The decoder of events returns only valid UTF-8.
    for payload in raw.decode(errors="replace").encode().split(b"\n")[:20]:
        expected = outcome(lambda payload: list(answer.pieces(wire.parse(payload))), payload)
        piece = reader.fast(payload)
        found = outcome(reader.parsed, payload) if piece is None else [piece]
        assert found == expected, f"{found} and not {expected} for {payload!r}"


TARGETS: dict[str, Callable[[bytes], None]] = {"openai_chat": openai_chat, "sse": sse}


def fuzz(target: str, arguments: list[str]) -> None:
    """Run one target until libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["providerhub.wire"]):
        import providerhub.wire._chunk_reader  # noqa: F401 -- and with it all of the package

    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()


def main() -> int:
    """Run every target, or the one named, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600, help="time for each target (default: 600)")
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        fuzz(options.target, options.child)
        return 0
    failed = []
    for target in [options.target] if options.target else sorted(TARGETS):
        kept = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
        corpus = kept / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(SEEDS):
            (corpus / f"seed-{number}").write_bytes(b"\0\0\0\7" + seed)
        print(f"{target}: {options.seconds} s; inputs in {kept}", flush=True)
        limits = [f"-max_total_time={options.seconds}", f"-rss_limit_mb={RSS_LIMIT_MB}", "-timeout=10", "-max_len=8192"]
        command = [sys.executable, __file__, "--target", target, "--child", *limits, f"-artifact_prefix={kept}/", str(corpus)]
        # The child stops by itself; the additional time is for a fuzzer that hangs.
        ended = subprocess.run(command, check=False, timeout=options.seconds + 120)
        print(f"{target}: {'ok' if ended.returncode == 0 else f'FAILED, exit code {ended.returncode}'}", flush=True)
        failed += [target] if ended.returncode else []
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
