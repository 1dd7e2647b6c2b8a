"""The openai SDK."""

from openai import OpenAI

MESSAGES = [{"role": "user", "content": "Hello"}]
_clients = {}


def _client(url):
    if url not in _clients:
        _clients[url] = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    return _clients[url]


def prepare(url):
    _client(url)


def call(url):
    return _client(url).chat.completions.create(model="gpt-4", messages=MESSAGES).choices[0].message.content


def stream(url):
    answer = _client(url).chat.completions.create(model="gpt-4", messages=MESSAGES, stream=True)
    return sum(1 for chunk in answer if chunk.choices and chunk.choices[0].delta.content)
