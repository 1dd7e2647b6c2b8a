"""The code without such a library: a session of requests, and `json.loads`."""

import json

import requests

BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.7}
_session = requests.Session()


def prepare(_url):
    pass


def call(url):
    return _session.post(f"{url}/v1/chat/completions", json=BODY).json()["choices"][0]["message"]["content"]


def stream(url):
    pieces = 0
    with _session.post(f"{url}/v1/chat/completions", json={**BODY, "stream": True}, stream=True) as answer:
        for line in answer.iter_lines():
            if line.startswith(b"data: "):
                if line == b"data: [DONE]":
                    break
                if json.loads(line[6:])["choices"][0]["delta"].get("content"):
                    pieces += 1
    return pieces
