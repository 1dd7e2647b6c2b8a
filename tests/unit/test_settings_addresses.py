"""Addresses, proxies, certificates and keys: mistakes that show at once, and the variables of the environment."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from providerhub import ConfigurationError, Hub, Model, ProviderConfig, ProviderInfo, Setting, Settings
from providerhub._settings.address import unused_environment
from providerhub._settings.resolving import configured, option_flaw, resolve, undeclared
from providerhub._settings.secrets import CommandKey, EnvironmentKey, FileKey
from providerhub._values import Secret

VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
INFO = ProviderInfo(name="acme", settings=(Setting("url", env="ACME_URL"), Setting("api_key", secret=True), Setting("region")))


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in (*VARIABLES, "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _refused(**fields):
    with pytest.raises(ConfigurationError) as raised:
        Settings(providers={"acme": ProviderConfig(**fields)})
    return str(raised.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"proxies": {"htps": "http://proxy:1"}}, "proxies.htps names no scheme of a service; did you mean 'https'?"),
        ({"proxies": {"https": "htp://u:canary@proxy:1"}}, "proxies.https has an unknown scheme; did you mean 'http'?"),
        ({"proxies": {"https": "sock5://proxy:1"}}, "did you mean 'socks5'?"),
        ({"proxies": {"all": "zzz://proxy:1"}}, "the known ones are http, https, socks5"),
        ({"proxies": {"https": '"http://u:canary@p:1"'}}, "proxies.https is in quotation marks"),
        ({"api_key": '"canary"'}, "api_key is in quotation marks"),
        ({"api_key": "'canary'"}, "write it without them"),
        ({"url": '"https://acme.example"'}, "url is in quotation marks"),
        ({"url": "https://acme.example/v1#canary"}, "url holds a #"),
        ({"url": "http//canary"}, "url has no scheme; begin it with https://"),
        ({"url": "canary.example:80/v1"}, "url has no scheme"),
        ({"url": "https://"}, "url names no host; write it as https://host"),
        ({"url": "http:canary"}, "url has no scheme"),
        ({"url": "https://canary example"}, "url holds a blank"),
        ({"url": "https://x/\tcanary"}, "url holds a blank or a control character"),
        ({"url": "https://u:canary@x:99999"}, "url has a wrong host or port"),
        ({"url": "https://u:canary/x@x"}, "url has a wrong host or port"),
        ({"url": "https://x:0"}, "url has a wrong host or port"),
        ({"proxies": {"https": "proxy:canary"}}, "proxies.https has a wrong host or port"),
        ({"client_key": "key.pem"}, "client_key is of no use without client_cert"),
    ],
)
def test_a_useless_value_is_refused_and_not_shown(fields, said):
    message = _refused(**fields)
    assert message.startswith("provider 'acme': ")
    assert said in message
    assert "canary" not in message


def test_a_wrong_scheme_in_a_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('proxies = { htp = "http://p:1" }\n[providers.a]\nplugin = "b"\nproxies.htps = "http://p:1"\n')
    with pytest.raises(ConfigurationError) as raised:
        Settings.load(path, environ={})
    assert str(raised.value).startswith(f"{path}:1: proxies.htp names no scheme of a service; did you mean 'http'? (and 1 more")


@pytest.mark.parametrize("url", ["https://h/base?api-version=1", "unix:/run/service", "https://u:p@h:1/v1/", "http://[::1]:8080"])
@pytest.mark.parametrize(
    "proxies", [{}, {"https": "proxy:3128"}, {"https://h": "http://p:1"}, {"all": "HTTP://p:1"}, {"https": "socks5h://p:1"}]
)
def test_a_right_address_passes(url, proxies):
    assert Settings(providers={"acme": ProviderConfig(url=url, proxies=proxies)}).providers["acme"].url == url


# --- options


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("regoin", "did you mean 'region'?"),
        ("zzz", "its options are region"),
        ("url", "url is a key of the provider itself, so write it outside of options"),
        ("headers", "headers is a key of the provider itself"),
    ],
)
def test_an_undeclared_option(name, hint):
    ((found, message),) = undeclared(ProviderConfig(name="a", options={name: 1}), INFO).items()
    assert (found, hint in message) == (name, True)


def test_a_plugin_may_take_any_option():
    config = ProviderConfig(options={"zzz": 1})
    assert undeclared(config, ProviderInfo(name="a", needs_auth=True)) == {}
    assert undeclared(config, ProviderInfo(name="a", settings=(Setting("region"),), any_option=True)) == {}
    assert undeclared(ProviderConfig(options={"region": 1}), INFO) == {}


def test_the_message_has_the_place_of_the_option():
    config = ProviderConfig(name="a", options={"regoin": 1})
    origins = {"providers.a.options.regoin": "settings.toml:3"}
    assert option_flaw(config, INFO, origins).startswith(
        "settings.toml:3: provider 'a': the plugin 'acme' has no option 'regoin'"
    )
    assert option_flaw(config, INFO, {}).startswith("provider 'a': ")
    assert option_flaw(ProviderConfig(name="a"), INFO, origins) == ""


def test_a_call_with_an_undeclared_option_is_refused_and_the_view_names_it(site):
    code = """
        from providerhub import *
        def asked(config, model):
            hub = Hub(Settings(providers={"a": config}))
            try:
                print(hub.complete(model, "Hi").text)
            except ConfigurationError as error:
                print(error)
            print([(view.state, view.reason[:12]) for view in hub.instances() if view.name == "a"])
        asked(ProviderConfig(plugin="strict", options={"regoin": 1}), Model("strict-model", "a"))
        asked(ProviderConfig(plugin="strict", options={"regoin": 1}), "strict-model")
        """
    plugin = """
        from providerhub import ProviderInfo, Setting, hookimpl
        @hookimpl
        def providerhub_provider():
            return ProviderInfo(
                name="strict", models=("strict-model",), factory="plug_strict_heavy:create", settings=(Setting("region"),)
            )
        """
    site.plugin("strict", textwrap.dedent(plugin))
    said = "provider 'a': the plugin 'strict' has no option 'regoin'; did you mean 'region'?"
    assert site.run(code).splitlines() == [said, "[('misconfigured', \"provider 'a'\")]"] * 2


def test_a_useless_part_of_an_address_shows_in_the_view():
    with Hub(Settings(autoload=False)) as hub:
        hub.register(ProviderInfo(name="a"), Echo(), config=ProviderConfig(url="https://acme.example#x"))
        (view,) = hub.instances()
    assert (view.state, view.reason.partition(",")[0]) == ("misconfigured", "url holds a #")


# --- keys


@pytest.mark.parametrize("origin", ["argument", "settings.toml"])
def test_a_named_variable_that_is_not_set_makes_the_provider_unusable(origin):
    config = ProviderConfig(name="acme", api_key=Secret.later(EnvironmentKey("MINE")), origin=origin)
    assert [s.name for s in resolve(config, INFO, {})[1]] == ["api_key"]
    assert [s.name for s in resolve(config, INFO, {"PROVIDERHUB_ACME_API_KEY": "another"})[1]] == ["api_key"]
    assert resolve(config, INFO, {"MINE": "x"})[1] == ()
    option = ProviderConfig(name="acme", options={"region": Secret.later(EnvironmentKey("MINE"))})
    assert [s.name for s in resolve(option, INFO, {})[1]] == ["region"]
    undeclared_key = ProviderConfig(name="acme", api_key=Secret.later(EnvironmentKey("MINE")))
    assert [s.name for s in resolve(undeclared_key, ProviderInfo(name="acme"), {})[1]] == ["api_key"]


def test_a_value_of_the_environment_in_quotation_marks_makes_the_provider_unusable():
    for variable, name in (("PROVIDERHUB_ACME_API_KEY", "api_key"), ("ACME_URL", "url")):
        assert [s.name for s in resolve(ProviderConfig(name="acme"), INFO, {variable: '"x"'})[1]] == [name]


class Echo:
    def stream(self, request, call):
        yield "fine"


def test_the_others_work_while_a_named_variable_is_not_set(monkeypatch):
    monkeypatch.delenv("GATEWAY_KEY", raising=False)
    with Hub(Settings(autoload=False)) as hub:
        for name, key in (("gateway", Secret.later(EnvironmentKey("GATEWAY_KEY"))), ("other", None)):
            info = ProviderInfo(name=name, models=("m",), settings=(Setting("api_key", secret=True),))
            hub.register(info, Echo(), config=ProviderConfig(api_key=key, priority=1 if key else 0))
        answer = hub.complete("m", "Hi")
        assert (answer.provider, [skip.provider for skip in answer.route.skipped]) == ("other", ["gateway"])
        with pytest.raises(ConfigurationError, match="GATEWAY_KEY"):
            hub.complete(Model("m", "gateway"), "Hi")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xff\xfe", "holds no UTF-8 text"),
        (b'"canary"\n', "holds quotation marks around the key"),
        (b"canary" * 20_000, "is larger than 65536 bytes"),
    ],
)
def test_a_key_file_that_gives_no_key(tmp_path, content, said):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        FileKey(str(path), "settings.toml:3").read()
    assert str(raised.value).startswith(f"settings.toml:3: the key file {path} {said}")
    assert "canary" not in str(raised.value)
    assert raised.value.__context__ is None
    assert FileKey(str(path)).flaw() in str(raised.value)


def test_a_key_file_is_read_when_the_key_is_needed_and_loses_its_line_breaks(tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text(
        '[providers.a]\nplugin = "b"\napi_key = { file = "key" }\noptions = { upload = { file = "x", more = 1 } }\n'
    )
    config = Settings.load(settings, environ={}).providers["a"]
    assert config.api_key.source == FileKey(str(tmp_path / "key"), f"{settings}:3")
    assert config.options == {"upload": {"file": "x", "more": 1}}
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfsk-1 \r\n\n")
    assert config.api_key.reveal() == "sk-1 "
    (tmp_path / "key").write_text("sk-2")
    assert (config.api_key.renew(), config.api_key.reveal()) == (True, "sk-2")
    assert str(config.api_key.source) == f"file {tmp_path / 'key'}"


def test_a_command_that_prints_a_quoted_key():
    source = CommandKey((sys.executable, "-c", "print('\"canary\"')"))
    with pytest.raises(ConfigurationError, match="quotation marks") as raised:
        source.read()
    assert "canary" not in str(raised.value)


# --- the environment


def _resolved(url="https://acme.example", trust_env=True, **fields):
    return resolve(ProviderConfig(name="acme", url=url, trust_env=trust_env, **fields), INFO, os.environ)[0]


def test_the_variables_apply_where_the_settings_trust_the_environment(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.pem")
    config = _resolved()
    assert (config.proxies["https"], config.ca_bundle) == ("http://proxy:1", "/etc/ca.pem")
    assert _resolved(trust_env=None).proxies == _resolved(trust_env=False).proxies == {}
    own = _resolved(proxies={"all": "http://own:2"}, ca_bundle="/own.pem")
    assert (own.proxies, own.ca_bundle) == ({"all": "http://own:2"}, "/own.pem")
    assert _resolved(url="http://acme.example").ca_bundle is None


@pytest.mark.parametrize(("no_proxy", "used"), [("acme.example", False), (".example", False), ("other", True), ("*", False)])
def test_no_proxy_names_hosts_that_are_reached_directly(monkeypatch, no_proxy, used):
    monkeypatch.setenv("ALL_PROXY", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert _resolved().proxies == ({"all": "http://proxy:1"} if used else {})
    assert bool(unused_environment(_resolved(trust_env=False))) is used


def test_the_settings_for_all_providers_and_the_variable(monkeypatch):
    monkeypatch.setenv("PROVIDERHUB_TRUST_ENV", "true")
    settings = Settings(
        providers={"a": ProviderConfig(trust_env=False, proxies={"https": "http://a:1"}), "b": ProviderConfig()},
        proxies={"all": "http://all:1"}, ca_bundle="/all.pem",
    ).with_environment(os.environ)  # fmt: skip
    assert settings.trust_env is True
    assert settings.origins["trust_env"] == "environment variable PROVIDERHUB_TRUST_ENV"
    a, b = configured(settings, "a"), configured(settings, "b")
    assert (a.name, a.trust_env, a.proxies, a.ca_bundle) == ("a", False, {"https": "http://a:1"}, "/all.pem")
    assert (b.trust_env, b.proxies, configured(settings, "c").ca_bundle) == (True, {"all": "http://all:1"}, "/all.pem")
    assert Settings(trust_env=False).with_environment(os.environ).trust_env is False
    assert Settings().with_environment({}).trust_env is False


@pytest.mark.parametrize("variable", ["PROVIDERHUB_TRUST_ENV", "PROVIDERHUB_DISABLE_AUTOLOAD"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(variable):
    with pytest.raises(ConfigurationError, match=f"{variable} must be 1 or 0, not 'maybe'"):
        Settings().with_environment({variable: "maybe"})
    assert Settings().with_environment({"PROVIDERHUB_DISABLE_AUTOLOAD": "false"}).autoload is True


def test_an_error_can_name_the_variables_that_do_not_apply(monkeypatch):
    assert unused_environment(_resolved(trust_env=False)) == ""
    monkeypatch.setenv("https_proxy", "http://u:canary@proxy:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ca.pem")
    assert unused_environment(_resolved(trust_env=False)) == (
        "https_proxy and REQUESTS_CA_BUNDLE are set but not used: set trust_env = true, or proxies and ca_bundle, "
        "for provider 'acme'"
    )
    own = _resolved(trust_env=False, ca_bundle="/own.pem")
    assert unused_environment(own) == "https_proxy is set but not used: set trust_env = true, or proxies, for provider 'acme'"
    assert unused_environment(_resolved(url="http://acme.example", trust_env=False)) == ""
    assert unused_environment(_resolved()) == ""
