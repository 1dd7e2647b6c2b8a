"""langchain-openai."""

from langchain_openai import ChatOpenAI

_models = {}


def _model(url):
    if url not in _models:
        _models[url] = ChatOpenAI(model="gpt-4", base_url=f"{url}/v1", api_key="none", max_retries=0)
    return _models[url]


def prepare(url):
    _model(url)


def call(url):
    return _model(url).invoke("Hello").content


def stream(url):
    return sum(1 for chunk in _model(url).stream("Hello") if chunk.content)
