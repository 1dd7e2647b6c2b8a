"""litellm.completion."""

import litellm

ASK = {"model": "openai/gpt-4", "messages": [{"role": "user", "content": "Hello"}], "api_key": "none", "num_retries": 0}


def prepare(_url):
    pass


def call(url):
    return litellm.completion(**ASK, api_base=f"{url}/v1").choices[0].message.content


def stream(url):
    answer = litellm.completion(**ASK, api_base=f"{url}/v1", stream=True)
    return sum(1 for chunk in answer if chunk.choices[0].delta.content)
