"""aisuite over the openai SDK. It does not stream by default."""

import aisuite

MESSAGES = [{"role": "user", "content": "Hello"}]
_clients = {}


def _client(url):
    if url not in _clients:
        _clients[url] = aisuite.Client({"openai": {"api_key": "none", "base_url": f"{url}/v1"}})
    return _clients[url]


def prepare(url):
    _client(url)


def call(url):
    return _client(url).chat.completions.create(model="openai:gpt-4", messages=MESSAGES).choices[0].message.content
