"""any-llm."""

from any_llm import completion

ASK = {"model": "gpt-4", "provider": "openai", "messages": [{"role": "user", "content": "Hello"}], "api_key": "none"}


def prepare(_url):
    pass


def call(url):
    return completion(**ASK, api_base=f"{url}/v1").choices[0].message.content


def stream(url):
    answer = completion(**ASK, api_base=f"{url}/v1", stream=True)
    return sum(1 for chunk in answer if chunk.choices and chunk.choices[0].delta.content)
