"""The llm package, with its model for servers of the OpenAI shape."""

from llm.default_plugins.openai_models import Chat

_models = {}


def _model(url):
    if url not in _models:
        _models[url] = Chat("gpt-4", model_name="gpt-4", api_base=f"{url}/v1", can_stream=True)
        _models[url].key = "none"
    return _models[url]


def prepare(url):
    _model(url)


def call(url):
    return _model(url).prompt("Hello", stream=False, key="none").text()


def stream(url):
    return sum(1 for piece in _model(url).prompt("Hello", stream=True, key="none") if piece)
