"""The provider object of a vendor. Most vendors differ in fields of the table alone; the others have a short class here."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from providerhub import CallContext, CapabilityError, ConfigurationError, ModelInfo, ProviderConfig, Request, Usage, UsageDelta
from providerhub.openai_provider import ChatReading, OpenAIChatProvider
from providerhub.wire import openai_chat
from providerhub.wire_provider import Built, Fetched, HttpAnswer, HttpRequest, Reading, listed
from providerhub_compatible.models import model_of
from providerhub_compatible.refusals import REFUSALS, stream_options_refused
from providerhub_compatible.vendors import VENDORS

_SWITCH = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
"""Tokens of reasoning for the words, at services that count tokens."""

_MARGIN = 60.0
"""The seconds before its end at which a token is fetched again."""


def _thinking(reasoning: str | int) -> dict[str, Any]:
    return {"thinking": {"type": "disabled" if reasoning == "none" else "enabled"}}


def _thinking_effort(reasoning: str | int) -> dict[str, Any]:
    effort = {} if reasoning == "none" else openai_chat.reasoning_effort(reasoning)
    return {**_thinking(reasoning), **effort}


def _enable_thinking(reasoning: str | int) -> dict[str, Any]:
    if reasoning == "none":
        return {"enable_thinking": False}
    budget = _BUDGETS.get(reasoning) if isinstance(reasoning, str) else reasoning
    return {"enable_thinking": True, **({"thinking_budget": budget} if budget else {})}


def _object(reasoning: str | int) -> dict[str, Any]:
    return {"reasoning": {"effort" if isinstance(reasoning, str) else "max_tokens": reasoning}}


def _enabled(reasoning: str | int) -> dict[str, Any]:
    if reasoning == "none":
        return {"reasoning": {"enabled": False}}
    return {"reasoning": {"enabled": True}, **openai_chat.reasoning_effort(reasoning)}


def _template(reasoning: str | int) -> dict[str, Any]:
    """Set the variables of the model's template: Qwen and GLM read `enable_thinking`, DeepSeek and Granite read `thinking`."""
    thinks = reasoning != "none"
    effort = openai_chat.reasoning_effort(reasoning) if thinks else {}
    return {**effort, "chat_template_kwargs": {"enable_thinking": thinks, "thinking": thinks}}


FORMS: Mapping[str, Callable[[str | int], dict[str, Any]]] = {
    "effort": openai_chat.reasoning_effort, "thinking": _thinking, "thinking_effort": _thinking_effort,
    "enable_thinking": _enable_thinking, "object": _object, "enabled": _enabled, "template": _template,
}  # fmt: skip
"""The forms of the request for reasoning: a word or a number of tokens → fields of the body."""


class Compatible(OpenAIChatProvider):
    """A provider for one vendor.

    Args:
        config: The instance's configuration. Its plugin is the name of the vendor.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        name = config.plugin or config.name
        self.vendor = vendor = VENDORS[name]
        # An address without a path stands for `/v1`, unless the vendor's own address has no path.
        bare = not urlsplit(config.url or "").path.strip("/") and bool(urlsplit(vendor.url or "//-/v1").path)
        self.path = f"/v1{vendor.path}" if bare else vendor.path
        self.call_ids = vendor.call_ids
        self.unwanted = openai_chat.UNWANTED if vendor.caches else openai_chat.UNWANTED | {"cache_control"}
        self.refusals = (*REFUSALS.get(name, ()), stream_options_refused(config.name))
        self._stream_usage = _switch(config, "stream_usage")

    def reasoning(self, reasoning: str | int) -> dict[str, Any]:
        """Return the fields that ask for reasoning, in the vendor's form.

        Args:
            reasoning: A word such as `"low"`, or the maximum number of tokens to think.
        """
        return FORMS[self.vendor.reasoning](reasoning)

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send. An option that is `None` removes its field.

        Args:
            request: The request.
        """
        body = {**self.vendor.extra, **super().body(request)}
        if request.stream and self._stream_usage:
            body.setdefault("stream_options", {"include_usage": True})
        if self.vendor.max_tokens != "max_tokens" and "max_tokens" in body and "max_tokens" not in request.options:
            body.setdefault(self.vendor.max_tokens, body.pop("max_tokens"))
        return {name: value for name, value in body.items() if value is not None}

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        """Make the reader of one answer; see `OpenAIChatProvider.reading`.

        Args:
            request: The request, which is not used.
            call: The call, for notes.
            headers: The headers of the answer.
        """
        del request
        return VendorReading(self, call, headers)

    def models(self) -> Generator[Any, Any, list[ModelInfo]]:
        """List the models that answer a chat.

        Yields:
            The request.

        Returns:
            The models, with the abilities that the service states.

        Raises:
            ProviderError: The service refused, or its answer is not a list of models.
        """
        reference = self.vendor.models or "models"
        path = f"{self.path.removesuffix(self.vendor.path)}/models"
        if reference != "models":
            path = urljoin(self.http.address("").partition("?")[0].rstrip("/") + "/", reference)
        answer: HttpAnswer = yield HttpRequest(path, method="GET", query=self._listing_query())
        found = (model_of(self.vendor, entry) for entry in answer.entries(self.vendor.entries))
        return [model for model in found if model is not None]

    def _listing_query(self) -> Mapping[str, Any]:
        return {}


class JsonObject(Compatible):
    """A service that supports JSON but no schema: a schema is refused before sending."""

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send; see `Compatible.body`.

        Args:
            request: The request.

        Raises:
            CapabilityError: It asks for a JSON schema. Another service may take it.
        """
        if (request.response_format or {}).get("type") == "json_schema":
            msg = (
                f"{self.vendor.title} has no JSON schema; pass response_format={{'type': 'json_object'}} and describe the object "
                f"in the prompt"
            )
            raise CapabilityError(msg, capability="json_schema")
        return super().body(request)


class Databricks(Compatible):
    """Databricks, whose Claude models are asked for reasoning in Claude's own form."""

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send; see `Compatible.body`.

        Args:
            request: The request.
        """
        body = super().body(request)
        if request.reasoning is not None and "claude" in request.model and "reasoning_effort" not in request.options:
            body.pop("reasoning_effort", None)
            budget = _BUDGETS.get(request.reasoning, 0) if isinstance(request.reasoning, str) else request.reasoning
            body.setdefault("thinking", {"type": "enabled", "budget_tokens": budget} if budget else {"type": "disabled"})
        return body


class Snowflake(Compatible):
    """Snowflake Cortex, whose Claude models take a `reasoning` object, and the others a `reasoning_effort`."""

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send; see `Compatible.body`.

        Args:
            request: The request.
        """
        body = super().body(request)
        if request.reasoning is not None and "reasoning" not in request.options:
            if not request.model.startswith("claude"):
                del body["reasoning"]
                body |= openai_chat.reasoning_effort(request.reasoning)
            elif request.reasoning == "none":  # the model reasons only on request
                del body["reasoning"]
        return body


class VendorReading(ChatReading):
    """Reads an answer, with the vendor's own words of refusal. MiniMax refuses with status 200 and the field `base_resp`.

    Args:
        provider: The provider that answers.
        call: The call, for notes.
        headers: The headers of the answer.
    """

    def __init__(self, provider: Compatible, call: CallContext, headers: Mapping[str, str]) -> None:
        super().__init__(provider, call, headers)
        self._cost = headers.get(provider.vendor.cost_header, "")

    def whole(self, data: dict[str, Any]) -> Iterator[Any]:
        """Read an answer that is one object; see `JsonReading.whole`. The headers of a stream come before its cost is known.

        Args:
            data: The object.

        Yields:
            The pieces of the answer.
        """
        if re.fullmatch(r"\d+(\.\d+)?(e-?\d{1,2})?", self._cost, re.ASCII):
            yield UsageDelta(Usage(cost=float(self._cost)))
        yield from super().whole(data)

    def refuse(self, data: dict[str, Any], name: str) -> None:
        """Raise an error if an object is an error; see `JsonReading.refuse`.

        Args:
            data: The object of a frame, or the whole answer.
            name: The name of the frame.
        """
        said = data.get("base_resp")
        if isinstance(said, dict) and said.get("status_code"):
            data = {"error": {"code": str(said["status_code"]), "message": said.get("status_msg") or "refused"}}
        super().refuse(data, name)


class Watsonx(Compatible):
    """IBM watsonx.ai: a token is fetched for the key, and the request names the project that pays."""

    key_header = ""

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.path = ""
        self._token = Fetched(self._fetched)

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send; see `Compatible.body`.

        Args:
            request: The request.
        """
        body = super().body(request)
        body["model_id"] = body.pop("model")
        for name in ("stream", "stream_options"):
            body.pop(name, None)
        for name in ("project_id", "space_id"):
            if value := self.config.get(name):
                body.setdefault(name, value)
        return body

    def build(self, request: Request, call: CallContext) -> Built:
        """Write a request. If there is no token, first fetch a token.

        Args:
            request: The request to write.
            call: The call, which uses the token.
        """
        body = self.body(request)
        given = self.config.get("token")
        token = (yield from self._token.get(call)) if given is None else given.reveal()
        headers = {"Authorization": f"Bearer {token}"}
        path = f"/ml/v1/text/chat{'_stream' if request.stream else ''}"
        version = {"version": self.config.get("api_version")}
        return HttpRequest(path, body, stream=request.stream, headers=headers, query=version)

    def _listing_query(self) -> Mapping[str, Any]:
        return {"version": self.config.get("api_version"), "limit": 200}

    def _fetched(self) -> Generator[Any, Any, tuple[str, float]]:
        assert self.config.api_key is not None  # noqa: S101 -- required without a token
        form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": self.config.api_key.reveal()}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        address = str(self.config.get("auth_url"))
        answer: HttpAnswer = yield HttpRequest(address, urlencode(form).encode(), headers=headers)
        said = answer.json()
        token = said.get("access_token") if isinstance(said, dict) else None
        if not isinstance(token, str) or not token:
            msg = f"provider {self.config.name!r}: {address} gave no access_token; correct auth_url or api_key"
            raise ConfigurationError(msg)
        return token, float(said.get("expires_in") or 0) - _MARGIN


KINDS: Mapping[str, type[Compatible]] = {
    "databricks": Databricks, "json_object": JsonObject, "snowflake": Snowflake, "watsonx": Watsonx,
}  # fmt: skip
"""The classes that `Vendor.kind` names. Other kinds need none."""


def create(config: ProviderConfig) -> Compatible:
    """Make the provider object of an instance.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """
    return KINDS.get(VENDORS[config.plugin or config.name].kind, Compatible)(config)


def discover(config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo | str]:
    """Ask a service for its models.

    Args:
        config: The instance's configuration.
        call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT` of the toolkit.

    Returns:
        The models that can answer a chat, with the capabilities that the service states.

    Raises:
        ProviderError: The service refused, or its answer is not a list of models.
    """
    provider = create(config)
    return listed(provider, provider.models(), call)


def _switch(config: ProviderConfig, name: str) -> bool:
    value = config.get(name)
    text = "yes" if value is None else str(value).lower()
    if text not in _SWITCH:
        msg = f"provider {config.name!r}: {name} must be 'yes' or 'no', not {text!r}"
        raise ConfigurationError(msg)
    return _SWITCH[text]
