"""The table of vendors, and the declarations from it."""

import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import providerhub
import providerhub_compatible
from providerhub import Hub, ModelInfo, NoCapableProviderError, ProviderConfig, Settings
from providerhub.testing import FaultServer, http_response, openai_completion
from providerhub_compatible import VENDORS, EntryPoint, Vendor, conformance
from providerhub_compatible.provider import FORMS, KINDS

ROOT = Path(__file__).parents[1]
CANARY = "canary-key-0123456789"
WHOLE = http_response(200, openai_completion("Hi"))


def test_every_vendor_has_both_entry_points():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    places = {name: name.replace("-", "_") for name in VENDORS}
    assert table["providerhub"] == {name: f"providerhub_compatible:{place}" for name, place in places.items()}
    suites = {name: f"providerhub_compatible.conformance:{place}" for name, place in places.items()}
    assert table["providerhub.conformance"] == suites


def test_the_readme_has_a_line_for_every_vendor():
    text = (ROOT / "README.md").read_text("utf-8")
    for name, vendor in VENDORS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert all(part in line for part in (vendor.docs, vendor.url or "`url` must be set", *vendor.keys[:2]))


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendor_is_complete(name):
    vendor = VENDORS[name]
    info = EntryPoint(name).providerhub_provider()
    assert info.name == name
    assert vendor.reasoning in FORMS
    assert vendor.kind in {"", "github", *KINDS}
    assert vendor.docs.startswith("https://")
    assert vendor.url.startswith("https://") or (not vendor.url and not info.pinned_only)
    assert vendor.keys or not vendor.url
    assert not vendor.slow or info.slow_start
    assert sorted(VENDORS) == list(VENDORS)
    assert vars(Vendor).keys() >= vars(vendor).keys() - {"title", "url", "keys", "docs"}


def test_an_unknown_vendor_is_no_attribute():
    with pytest.raises(AttributeError, match="acme"):
        getattr(providerhub_compatible, "acme")  # noqa: B009 -- the access is the test
    with pytest.raises(AttributeError, match="acme"):
        getattr(conformance, "acme")  # noqa: B009


def test_the_module_of_the_entry_points_imports_nothing_heavy():
    code = (
        "import sys, providerhub, pluggy; from providerhub import ProviderInfo, Setting, hookimpl; before = set(sys.modules); "
        "import providerhub_compatible; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['providerhub_compatible', 'providerhub_compatible.vendors']"


@pytest.mark.parametrize("name", VENDORS)
def test_what_is_missing_is_named_with_its_variable(name):
    vendor = VENDORS[name]
    with Hub(Settings(allow=(name,))) as hub:
        (view,) = [view for view in hub.instances() if view.name == name]
    assert view.state == "not configured"
    wanted = [vendor.keys[0]] if vendor.url else [f"PROVIDERHUB_{name.upper()}_URL"]
    wanted += [own.name for own in vendor.own if own.unless]
    assert all(text in view.reason for text in wanted)


@pytest.mark.parametrize(
    ("name", "options", "address"),
    [
        ("cloudflare", {"account_id": "a1"}, "https://api.cloudflare.com/client/v4/accounts/a1/ai/v1"),
        ("databricks", {"host": "https://adb-1.2.azuredatabricks.net/"}, "https://adb-1.2.azuredatabricks.net/serving-endpoints"),
        ("snowflake", {"account": "org-acc"}, "https://org-acc.snowflakecomputing.com/api/v2/cortex/v1"),
        ("bedrock-mantle", {"region": "eu-west-1"}, "https://bedrock-mantle.eu-west-1.api.aws/v1"),
        ("watsonx", {"project_id": "p"}, "https://us-south.ml.cloud.ibm.com"),
        ("watsonx", {"space_id": "s", "region": "eu-de"}, "https://eu-de.ml.cloud.ibm.com"),
        ("github", {}, "https://models.github.ai/inference"),
        ("github", {"organization": "acme"}, "https://models.github.ai/orgs/acme/inference"),
    ],
)
def test_an_address_is_made_of_settings(hub_at, name, options, address):
    with hub_at(name, options=options) as hub:
        (view,) = [view for view in hub.instances() if view.name == name]
    assert (view.state, view.config.url) == ("ready", address)


@pytest.mark.parametrize(
    ("name", "path", "target"),
    [
        ("groq", "", "/v1/chat/completions"),
        ("groq", "/openai/v1", "/openai/v1/chat/completions"),
        ("deepseek", "", "/chat/completions"),
        ("perplexity", "/", "/chat/completions"),
        ("vllm", "", "/v1/chat/completions"),
        ("writer", "/v1", "/v1/chat"),
        ("databricks", "/serving-endpoints", "/serving-endpoints/chat/completions"),
    ],
)
def test_the_path_after_the_address(hub_at, ask, name, path, target):
    with FaultServer(WHOLE) as server, hub_at(name, server.url + path) as hub:
        assert ask(hub, f"{name}/sonar").text == "Hi"
    assert server.requests[0].target == target
    assert server.requests[0].header("authorization") == f"Bearer {CANARY}"


def test_a_key_alone_moves_no_prompt(monkeypatch, hub_at):
    monkeypatch.setenv("PERPLEXITY_API_KEY", "k")
    with Hub(Settings(allow=("perplexity",))) as hub:
        with pytest.raises(NoCapableProviderError, match=r"ask for perplexity/sonar, or add \[providers.perplexity\]"):
            hub.explain("sonar", "Hello")
        assert [str(one) for one in hub.explain("perplexity/sonar", "Hello").candidates] == ["perplexity/sonar"]
    with hub_at("perplexity") as hub:
        assert [str(one) for one in hub.explain("sonar", "Hello").candidates] == ["perplexity/sonar"]


def test_a_key_alone_asks_no_service_for_its_models(monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "k")
    with FaultServer(http_response(200, {"data": [{"id": "m"}]})) as server:
        monkeypatch.setenv("PROVIDERHUB_GROQ_URL", server.url)
        with Hub(Settings(allow=("groq",))) as hub, pytest.raises(providerhub.ModelNotFoundError, match="ask for 'groq/m'"):
            hub.complete("m", "Hello")
    assert not server.requests


def test_a_second_instance_is_named_by_the_settings(ask):
    with FaultServer(WHOLE) as server:
        config = ProviderConfig(plugin="groq", api_key=CANARY, url=server.url, models=["m"])
        with Hub(Settings(providers={"fast": config}, allow=("groq",))) as hub:
            assert ask(hub, "m", max_tokens=5).provider == "fast"
    assert server.requests[0].json()["max_completion_tokens"] == 5


def test_addresses_of_vendors_are_encrypted():
    assert all(urlsplit(vendor.url).scheme == "https" for vendor in VENDORS.values() if vendor.url)


def test_a_lack_is_named_with_its_source():
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]
    listing = http_response(200, {"data": [{"id": "m", "input_modalities": ["text"], "output_modalities": ["text"]}]})
    with FaultServer(listing) as server:
        config = ProviderConfig(api_key=CANARY, url=f"{server.url}/v1", models=[ModelInfo("own", supports_images=False)])
        with Hub(Settings(providers={"groq": config})) as hub:
            assert hub.refresh()
            for model, source in (("own", "declared so in the settings"), ("m", "its service says so in the list of models")):
                with pytest.raises(NoCapableProviderError, match=rf"no images \({source}\)"):
                    hub.complete(f"groq/{model}", image)
