"""The catalogue: its values of models, the tool that makes its snapshot, the command, and its cost."""

import json
import os
import subprocess
import sys
import types
from decimal import Decimal

import pytest
from click.testing import CliRunner

import providerhub_catalog
from providerhub import Hub, ModelInfo, ProviderInfo, Settings
from providerhub.testing import FakeProvider, FaultServer, http_response
from providerhub_catalog import _prices, _snapshot
from providerhub_catalog._snapshot import Snapshot, snapshot
from providerhub_catalog.build import build, from_folder, from_json, main
from providerhub_catalog.command import catalog

FREE = {
    "tool_call": True, "reasoning": False, "limit": {"context": 5}, "modalities": {"input": []},
    "cost": {"input": 0, "output": 0},
}  # fmt: skip
API = {
    "acme": {
        "id": "acme",
        "models": {
            "large": {
                "tool_call": True, "structured_output": False, "reasoning": True, "limit": {"context": 1000, "output": 10},
                "modalities": {"input": ["text", "image", "pdf"], "output": ["text"]},
                "cost": {
                    "input": 1.5, "output": 3, "cache_read": 0.15, "cache_write": 1.875, "input_audio": 4, "output_audio": 0,
                    "tiers": [
                        {"tier": {"size": 500}, "input": 3, "output": 6, "cache_write": 4},
                        {"tier": {"type": "context", "size": 700}, "input": 5, "output": 7},
                        {"tier": {"type": "time", "size": 1}, "input": 0},
                    ],
                },
            },
            "text-embedding-1": {
                "tool_call": False, "reasoning": False, "limit": {"context": 0, "output": 0}, "modalities": {"input": ["text"]},
                "cost": {"input": 0.02, "output": 0, "cache_read": 0},
            },
            "plan": FREE, "tiny:free": FREE, "us.lab.nova": FREE, "lab.large-v1:0": FREE,
        },
    },
    "zeta": {"id": "zeta", "models": {}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", str(tmp_path / "cache"))
    snapshot.cache_clear()
    _prices._package.cache_clear()
    yield
    snapshot.cache_clear()
    _prices._package.cache_clear()


def _made(day="2030-01-02"):
    return Snapshot(build(from_json(json.dumps(API).encode()), day))


def test_an_entry_becomes_a_model():
    assert _made().find("acme", "large") == ModelInfo(
        "large", supports_tools=True, supports_json_schema=False, supports_images=True, supports_audio=False, supports_files=True,
        supports_reasoning=True, context_window=1000, price_in=1.5, price_out=3.0, price_cache_read=0.15, price_cache_write=1.875,
        max_output_tokens=10, price_in_audio=4.0, price_tiers=(
            {"above": 500, "price_in": 3.0, "price_out": 6.0, "price_cache_write": 4.0},
            {"above": 700, "price_in": 5.0, "price_out": 7.0},
        ), source="models.dev 2030-01-02",
    )  # fmt: skip


def test_an_embedding_model_costs_nothing_for_output_and_has_no_window():
    found = _made().find("acme", "text-embedding-1")
    assert (found.supports_embeddings, found.supports_json_schema, found.context_window) == (True, None, None)
    assert (found.price_in, found.price_out, found.price_cache_read) == (0.02, 0, None)


def test_a_price_of_zero_is_unknown_unless_the_name_says_free():
    assert (_made().find("acme", "plan").price_in, _made().find("acme", "tiny:free").price_in) == (None, 0)


FORMS = ("-20300102", "-2030-01-02", "-latest", "@20300102", "@default")


@pytest.mark.parametrize("name", [*(f"large{end}" for end in FORMS), "ft:large:me::1", "ft:large-2030-01-02:me::1"])
def test_a_form_of_a_model_has_the_abilities_of_its_base_and_no_prices(name):
    found = _made().find("acme", name)
    assert (found.name, found.supports_images, found.context_window, found.price_in) == (name, True, 1000, None)


def test_a_region_has_the_abilities_of_its_base():
    assert _made().find("acme", "eu.lab.large-v1:0").supports_tools
    assert _made().find("acme", "eu.large") is None


def test_a_name_of_its_own_comes_first_and_an_unknown_one_has_no_entry():
    made = _made()
    assert made.find("acme", "us.lab.nova").name == "us.lab.nova"
    for vendor, name in [
        ("acme", "larg"),
        ("acme", "arge"),
        ("acm", "large"),
        ("zeta", "large"),
        ("acme", ""),
        ("acme", "zeta]"),
    ]:
        assert made.find(vendor, name) is None, (vendor, name)


@pytest.mark.parametrize(
    "content",
    [
        b"[]", b"{", b'{"a": 1}', b'{"a": {"models": {"m": {}}}}',
        b'{"a": {"models": {"m": {"modalities": {"input": []}, "limit": {"context": "x"}}}}}',
        b'{"a": {"models": {"a\\tb": {"modalities": {"input": []}, "limit": {"context": 1}}}}}',
    ],
)  # fmt: skip
def test_data_of_another_form_is_refused(content):
    with pytest.raises(ValueError, match=r"model|Expecting"):
        build(from_json(content), "2030-01-02")


def test_a_date_is_a_date():
    with pytest.raises(ValueError, match="yesterday"):
        build({}, "yesterday")


def test_the_tool_reads_a_folder_with_base_models(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")

    base = 'tool_call = true\nreasoning = true\n[limit]\ncontext = 9\noutput = 5\n[modalities]\ninput = ["text"]\n'
    own = 'base_model = "lab/base"\nbase_model_omit = ["reasoning", "no.such"]\n[limit]\ncontext = 4\n'
    own += "[cost]\ninput = 1\noutput = 2\n"
    write("models/lab/base.toml", base)
    write("providers/acme/provider.toml", 'name = "Acme"\n')
    write("providers/acme/models/lab/one.toml", own)
    (tmp_path / "providers/acme/models/gone.toml").symlink_to(tmp_path / "nowhere.toml")
    write("providers/logo.svg", "<svg/>")
    assert list(from_folder(tmp_path)) == ["acme"]
    main(str(tmp_path), "2030-01-02", str(tmp_path / "out.txt"))
    found = Snapshot((tmp_path / "out.txt").read_text("utf-8")).find("acme", "lab/one")
    assert (found.supports_tools, found.supports_reasoning, found.context_window, found.price_out) == (True, None, 4, 2)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash"),
        ("groq", "openai/gpt-oss-120b"), ("bedrock", "us.amazon.nova-lite-v1:0"),
        ("anthropic-vertex", "claude-haiku-4-5@20251001"), ("mistral", "mistral-large-latest"),
        ("together", "openai/gpt-oss-120b"), ("google", "gemini-2.5-pro"), ("cohere", "command-a-03-2025"), ("xai", "grok-4.3"),
    ],
)  # fmt: skip
def test_the_packaged_snapshot_knows_models_of_every_vendor(provider, model):
    found = providerhub_catalog.providerhub_model(provider, model)
    assert found is not None, (provider, model)
    assert found.context_window > 8000
    assert found.source == f"models.dev {snapshot().date}"


def test_every_line_of_the_packaged_snapshot_is_a_model():
    vendor, count = "", 0
    for line in snapshot()._text.splitlines()[2:]:
        if line.startswith("["):
            vendor = line[1:-1]
        else:
            name = line.partition("\t")[0]
            assert snapshot().find(vendor, name).name == name
            count += 1
    assert count > 5000


def test_a_plan_at_a_vendors_proxy_uses_the_entry_that_the_user_names():
    hub = Hub(Settings(autoload=False), observers=[providerhub_catalog])
    for name, entry in (("a", "openai/gpt-3.5-turbo"), ("b", None), ("c", "openai/*")):
        hub.register(ProviderInfo(name=name, models=[ModelInfo("gpt-4o", catalog=entry)]), FakeProvider([]))
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    assert [one.provider for one in hub.explain("gpt-4o", picture).candidates] == ["c", "b", "a"]


class _Known:
    def get_prices(self, when):
        assert when.tzinfo is not None
        tier = types.SimpleNamespace
        cached = tier(base=Decimal("0.3"), tiers=[tier(start=200, price=Decimal("0.6"))])
        asked = tier(base=Decimal(3), tiers=[tier(start=100, price=Decimal(4)), tier(start=200, price=Decimal(6))])
        return types.SimpleNamespace(input_mtok=asked, output_mtok=None, cache_read_mtok=cached, input_audio_mtok=Decimal(7))


def _genai(monkeypatch, known):
    vendor = types.SimpleNamespace(id="x-ai", find_model=lambda model, all_providers: known if model == "grok" else None)
    package = types.ModuleType("genai_prices")
    package.__version__ = "9.9"
    package.data_snapshot = types.ModuleType("genai_prices.data_snapshot")
    package.data_snapshot.get_snapshot = lambda: types.SimpleNamespace(providers=[vendor])
    monkeypatch.setitem(sys.modules, "genai_prices", package)
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", package.data_snapshot)


def test_genai_prices_gives_the_prices_where_it_is_installed(monkeypatch):
    _genai(monkeypatch, _Known())
    hook = providerhub_catalog.prices.providerhub_model
    tiers = {"above": 100, "price_in": 4.0, "price_cache_read": 0.3}, {"above": 200, "price_in": 6.0, "price_cache_read": 0.6}
    assert hook("xai", "Grok") == ModelInfo(
        "Grok", price_in=3.0, price_cache_read=0.3, price_in_audio=7.0, price_tiers=tiers, source="genai-prices 9.9"
    )
    assert [hook("xai", "nope"), hook("unknown", "Grok")] == [None, None]
    hub = Hub(Settings(autoload=False), observers=[providerhub_catalog, providerhub_catalog.prices])
    model = ModelInfo("m", catalog="xai/grok")
    hub.register(ProviderInfo(name="a", models=[model]), FakeProvider([]))
    assert hub._registry.explained("a", model)[1]["price_in"] == "genai-prices 9.9"
    assert (hub.explain("m").candidates[0].prices.source, hub.explain("m").candidates[0].prices.date) == (
        "genai-prices 9.9",
        None,
    )


def test_without_genai_prices_there_is_nothing_to_say(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert providerhub_catalog.prices.providerhub_model("xai", "grok") is None


def test_the_real_genai_prices():
    pytest.importorskip("genai_prices")
    found = providerhub_catalog.prices.providerhub_model("openai", "gpt-4o")
    assert found.price_in > found.price_cache_read > 0
    long = providerhub_catalog.prices.providerhub_model("gemini", "gemini-2.5-pro")
    assert long.prices.at(200_001).input > long.prices.at(200_000).input == long.price_in


def test_a_later_process_need_not_import_genai_prices(tmp_path):
    pytest.importorskip("genai_prices")
    code = """
import sys, providerhub_catalog
found = [providerhub_catalog.prices.providerhub_model("openai", name) for name in ("gpt-4o", "gpt-5.5", "no-such-model")]
print("genai_prices" in sys.modules, found)
"""
    env = {**os.environ, "PROVIDERHUB_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env).stdout for _ in "ab"
    ]
    assert [one.partition(" ")[0] for one in said] == ["True", "False"]
    assert said[0].partition(" ")[2] == said[1].partition(" ")[2]
    kept = tmp_path / "catalog" / "prices.json"
    kept.write_text(kept.read_text("utf-8").replace('"stamp": [', '"stamp": [1, '), "utf-8")  # of another release
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env).stdout == said[0]


def test_the_command_refreshes_from_an_address_and_a_path(tmp_path):
    before = snapshot().date
    assert before in CliRunner().invoke(catalog).output
    assert CliRunner().invoke(catalog, ["--json"]).output == f'{{"date": "{before}"}}\n'
    with FaultServer(http_response(body=API)) as server:
        done = CliRunner().invoke(catalog, ["--refresh", f"{server.url}/api.json"])
    assert done.exit_code == 0, done.output
    assert server.requests[0].target == "/api.json"
    assert snapshot().date > before
    assert snapshot().find("acme", "large").price_in == 1.5
    (tmp_path / "api.json").write_text(json.dumps(API))
    assert CliRunner().invoke(catalog, ["--refresh", str(tmp_path / "api.json")]).exit_code == 0
    assert [path.name for path in (tmp_path / "cache" / "catalog").iterdir()] == ["models.txt"]


@pytest.mark.parametrize("content", [None, "[]"])
def test_a_refresh_that_fails_says_so_and_keeps_the_data(tmp_path, content):
    before = snapshot().date
    if content:
        (tmp_path / "api.json").write_text(content)
    done = CliRunner().invoke(catalog, ["--refresh", str(tmp_path / "api.json")])
    assert (done.exit_code, "cannot be read" in done.output) == (1, True)
    assert snapshot().date == before


def test_without_a_cache_folder_a_refresh_names_the_variable(monkeypatch):
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", "relative")
    done = CliRunner().invoke(catalog, ["--refresh", "x"])
    assert (done.exit_code, "PROVIDERHUB_CACHE_DIR" in done.output) == (1, True)
    assert snapshot().date  # the catalogue reads the packaged data


@pytest.mark.parametrize("text", ["", "something else", "# providerhub-catalog 1, from models.dev 2000-01-01\n[openai]\n"])
def test_a_foreign_or_older_file_in_the_cache_folder_is_not_used(text):
    _snapshot.own_path().parent.mkdir(parents=True)
    _snapshot.own_path().write_text(text)
    assert snapshot().find("openai", "gpt-4o") is not None


def test_the_import_is_light_and_the_data_is_read_when_a_plan_needs_it():
    code = """
import sys, providerhub
with providerhub.Hub() as hub:
    assert "providerhub_catalog" in sys.modules
    assert not {"providerhub_catalog._snapshot", "providerhub_catalog._prices", "genai_prices", "click"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
