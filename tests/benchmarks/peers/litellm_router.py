"""litellm.Router."""

from litellm import Router

MESSAGES = [{"role": "user", "content": "Hello"}]
_routers = {}


def _deployment(name, url):
    return {"model_name": name, "litellm_params": {"model": "openai/gpt-4", "api_key": "none", "api_base": f"{url}/v1"}}


def _router(url):
    if url not in _routers:
        _routers[url] = Router(model_list=[_deployment("gpt-4", url)], num_retries=0)
    return _routers[url]


def prepare(url):
    _router(url)


def call(url):
    return _router(url).completion(model="gpt-4", messages=MESSAGES).choices[0].message.content


def stream(url):
    answer = _router(url).completion(model="gpt-4", messages=MESSAGES, stream=True)
    return sum(1 for chunk in answer if chunk.choices[0].delta.content)


def deployments(addresses):
    names = [f"m{number}" for number in range(len(addresses))]
    # The SDK of the router would wait and try again; here, no call may wait.
    models = [_deployment(name, url) for name, url in zip(names, addresses, strict=True)]
    for model in models:
        model["litellm_params"]["max_retries"] = 0
    router = Router(model_list=models, num_retries=0, fallbacks=[{names[0]: names[1:]}] if names[1:] else [])
    return lambda: router.completion(model=names[0], messages=MESSAGES).choices[0].message.content
