"""A service reports that a model lacks an ability: the next candidate answers, and the denial is remembered for an hour."""

import pytest

from providerhub import CapabilityError, Hub, ModelInfo, ProviderInfo, RetryPolicy, ServerError, Settings
from providerhub.testing import FakeClock

PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


class Unable:
    """Denies one capability to the requests that `uses` picks, and answers the others."""

    def __init__(self, capability, uses):
        self.capability, self.uses, self.asked = capability, uses, 0

    def stream(self, request, call):
        self.asked += 1
        if self.uses(request):
            raise CapabilityError("this model cannot do that", status=400, capability=self.capability)
        yield "from a"


class Able:
    def stream(self, request, call):
        yield "from b"


def with_images(request):
    return not isinstance(request.messages[-1]["content"], str)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def hub_of(clock):
    hubs = []

    def make(provider, *others, info=None):
        hub = Hub(Settings(autoload=False, retry=RetryPolicy(attempts=1)), clock=clock, rng=lambda: 0.5)
        hub.register(info or ProviderInfo(name="a", models=(ModelInfo("m"), ModelInfo("n"))), provider)
        for other in others:
            hub.register(ProviderInfo(name="b", models=(ModelInfo("m"),)), other)
        hubs.append(hub)
        return hub

    yield make
    for hub in hubs:
        hub.close()


USES = {
    "images": ({}, PICTURE),
    "audio": ({}, [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]}]),
    "tools": ({"tools": [TOOL]}, "x"),
    "json_schema": ({"response_format": JSON_SCHEMA}, "x"),
    "json_object": ({"response_format": {"type": "json_object"}}, "x"),
    "reasoning": ({"reasoning": "low"}, "x"),
    "temperature": ({"temperature": 0.0}, "x"),
    "stop": ({"stop": "END"}, "x"),
    "system": ({}, [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]),
    "logprobs": ({"options": {"a": {"logprobs": True}}}, "x"),
}


@pytest.mark.parametrize("capability", USES)
def test_a_denial_is_remembered_for_requests_that_use_the_capability_only(hub_of, capability):
    knobs, messages = USES[capability]
    provider = Unable(capability, lambda request: denied)
    hub = hub_of(provider, Able())
    denied = True
    assert hub.complete("m", messages, **knobs).text == "from b"
    denied = False
    assert hub.complete("m", messages, **knobs).text == "from b"
    assert provider.asked == 1
    assert hub.complete("m", "y").text == "from a"


def test_the_route_explain_and_health_show_the_denial(hub_of):
    hub = hub_of(Unable("json_schema", lambda request: request.response_format), Able())
    answer = hub.complete("m", "x", response_format=JSON_SCHEMA)
    error = answer.route.attempts[0].error
    assert (type(error), error.capability, error.retryable) == (CapabilityError, "json_schema", False)
    (skip,) = hub.explain("m", "x", response_format=JSON_SCHEMA).skipped
    assert str(skip) == "a/m: no json schema (the service said so; for 3600.0 s more)"
    assert hub.explain("m", "x").skipped == ()
    (found,) = [record for record in hub.health() if record.provider == "a"]
    assert (found.model, found.lacking, found.state) == ("m", ("json_schema",), "closed")


def test_a_denial_ends_after_an_hour_and_at_forgive(hub_of, clock):
    provider = Unable("images", with_images)
    hub = hub_of(provider, Able())
    for asked in (1, 1):
        hub.complete("m", PICTURE)
        assert provider.asked == asked
    clock.advance(3601.0)
    assert hub.explain("m", PICTURE).skipped == ()
    assert hub.health()[0].lacking == ()
    hub.complete("m", PICTURE)
    assert provider.asked == 2
    hub.forgive("a")
    hub.complete("m", PICTURE)
    assert provider.asked == 3


def test_a_denial_never_overrules_a_declared_capability(hub_of):
    provider = Unable("images", with_images)
    hub = hub_of(provider, Able(), info=ProviderInfo(name="a", models=(ModelInfo("m", supports_images=True),)))
    for asked in (1, 2):
        assert hub.complete("m", PICTURE).text == "from b"
        assert provider.asked == asked


def test_a_denial_is_about_one_model(hub_of):
    provider = Unable("images", lambda request: with_images(request) and request.model == "m")
    hub = hub_of(provider, Able())
    hub.complete("m", PICTURE)
    assert hub.complete("n", PICTURE).text == "from a"


def test_a_model_of_a_prefix_is_denied_by_its_own_name(hub_of):
    provider = Unable("images", lambda request: with_images(request) and request.model == "m")
    hub = hub_of(provider, Able(), info=ProviderInfo(name="a", models=(ModelInfo("*"),)))
    with pytest.raises(CapabilityError):
        hub.complete("a/m", PICTURE)
    assert hub.complete("a/other", PICTURE).text == "from a"
    assert [record.model for record in hub.health() if record.lacking] == ["m"]


def test_without_another_candidate_the_model_is_asked_all_the_same(hub_of):
    provider = Unable("images", with_images)
    hub = hub_of(provider)
    for asked in (1, 2, 3, 4, 5, 6):
        with pytest.raises(CapabilityError, match="cannot do that"):
            hub.complete("m", PICTURE)
        assert provider.asked == asked
    assert hub.complete("m", "y").text == "from a"  # no breaker has counted


def test_a_combination_that_a_model_refuses_says_nothing_about_its_parts(hub_of):
    provider = Unable("combination", lambda request: request.tools and request.response_format)
    hub = hub_of(provider, Able())
    assert hub.complete("m", "x", tools=[TOOL], response_format=JSON_SCHEMA).text == "from b"
    assert hub.complete("m", "x", tools=[TOOL]).text == "from a"


def test_a_breaker_that_opens_soon_comes_before_a_denial(hub_of, clock):
    class Down:
        def stream(self, request, call):
            raise ServerError("down")
            yield

    hub = hub_of(Unable("images", with_images), Down())
    for _ in range(5):
        with pytest.raises(Exception, match=r"down|cannot"):
            hub.complete("b/m", "x")
    with pytest.raises(CapabilityError):
        hub.complete("a/m", PICTURE)
    assert [str(candidate) for candidate in hub.explain("m", PICTURE).candidates] == ["b/m"]
