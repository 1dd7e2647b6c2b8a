"""providerhub with the Lockchat plugin, through `complete()`."""

import os

import providerhub
from providerhub import Hub, ProviderConfig, Settings

_hubs = {}


def prepare(url):
    # The default hub takes its settings from the environment, as in an application.
    os.environ["LOCKCHAT_URL"] = url
    _hubs[url] = providerhub


def _hub(url):
    if url not in _hubs:
        _hubs[url] = Hub(Settings(providers={"lockchat": ProviderConfig(url=url)}))
    return _hubs[url]


def call(url):
    return _hub(url).complete("gpt-4", "Hello").text


def stream(url):
    return sum(1 for _ in _hub(url).complete("gpt-4", "Hello", stream=True))


def deployments(addresses):
    last = len(addresses)
    configs = {f"p{n}": ProviderConfig(plugin="lockchat", url=url, priority=last - n) for n, url in enumerate(addresses)}
    hub = Hub(Settings(providers=configs))
    return lambda: hub.complete("gpt-4", "Hello").text
