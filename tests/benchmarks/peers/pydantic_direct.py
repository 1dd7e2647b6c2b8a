"""pydantic-ai, with direct requests to a model."""

from pydantic_ai.direct import model_request_sync
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

_models = {}


def _model(url):
    if url not in _models:
        _models[url] = OpenAIChatModel("gpt-4", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none"))
    return _models[url]


def prepare(url):
    _model(url)


def call(url):
    return model_request_sync(_model(url), [ModelRequest.user_text_prompt("Hello")]).parts[0].content
