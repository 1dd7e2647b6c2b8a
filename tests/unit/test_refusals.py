"""Every line of the table of refusals, by a body of the shape that the service sends."""

import re
import tomllib
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest

import providerhub
from providerhub import (
    BadRequestError,
    CapabilityError,
    ForbiddenError,
    RateLimitError,
    Refusal,
    RefusalTable,
    ServerError,
    error_from_status,
)
from providerhub._rules import refusals
from providerhub._rules.status import REQUEST_IDS

BODIES = tomllib.loads(Path(__file__).with_name("refusals.toml").read_text("utf-8"))["refusal"]
CODES = [(line, code) for line in refusals.ALL for code in sorted(line.codes)]
STATUSES = [200, 400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 503, 529]


def _id(body):
    return f"{body['service']}: {body['body'][:60]}"


@pytest.mark.parametrize("refused", BODIES, ids=_id)
def test_a_refusal_is_classed_by_its_words(refused):
    error = error_from_status(refused.get("status", 400), {}, refused["body"])
    assert type(error) is getattr(providerhub, refused["error"])
    assert getattr(error, "capability", "") == refused.get("capability", "")


@pytest.mark.parametrize(("line", "code"), CODES, ids=[code for _, code in CODES])
@pytest.mark.parametrize(
    "shape", [lambda code: {"error": {"code": code.upper()}}, lambda code: {"type": code, "message": "see above"}]
)
def test_a_refusal_is_classed_by_its_code_where_the_line_counts(line, code, shape):
    first = next(one for one in refusals.ALL if code in one.codes and one.counts_at(200))
    assert type(error_from_status(200, {}, shape(code))) is first.error
    for status in STATUSES:
        if line.counts_at(status):
            assert type(error_from_status(status, {}, shape(code))) is line.error


def _deciding(monkeypatch):
    """(line, phrase) pairs of the phrases that decide for some body."""
    found = set()

    def searched(phrases, said):
        fitting = {phrase for phrase in phrases if re.search(phrase, said, re.DOTALL)}
        found.update((phrases, phrase) for phrase in fitting)
        return re.search("|".join(fitting), said, re.DOTALL) if fitting else None

    monkeypatch.setattr(refusals, "_search", searched)
    for refused in BODIES:
        error_from_status(refused.get("status", 400), {}, refused["body"])
    return found


def test_every_phrase_decides_for_some_body(monkeypatch):
    known = _deciding(monkeypatch)
    raw = tomllib.loads(Path(refusals.__file__).with_name("refusals.toml").read_text("utf-8"))["line"]
    lacking = []
    for line, said in zip(refusals.ALL, raw, strict=True):
        own = said.get("phrases", ())
        lacking += [phrase for phrase in own if (line.phrases, phrase) not in known]
        if "features" in said and not any((line.phrases, phrase) in known for phrase in line.phrases if phrase not in own):
            lacking.append(said["features"])
    assert not lacking


def test_a_plugin_keeps_its_lines_in_a_file_which_the_first_refusal_reads(tmp_path, monkeypatch):
    folder = tmp_path / "acme_refusals"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    tables = RefusalTable("acme_refusals", "more", "line"), RefusalTable("acme_refusals")
    line = "[[{}]]\nerror = '{}'\nphrases = ['too warm']\nhint = '; wait'\n"
    (folder / "refusals.toml").write_text(line.format("line", "RateLimitError") + line.format("more", "ServerError"), "utf-8")
    for table, kind in zip(tables, (ServerError, RateLimitError), strict=True):
        error = error_from_status(400, {}, {"message": "Too warm"}, refusals=table)
        assert type(error) is kind
        assert str(error).endswith("; wait")


PLUGINS = {point.value.partition(":")[0].partition(".")[0] for point in entry_points(group="providerhub")}
FILES = [name for name in sorted(PLUGINS) if files(name).joinpath("refusals.toml").is_file()]


@pytest.mark.parametrize("package", FILES)
def test_the_lines_of_a_plugin_can_fit(package):
    tables = tomllib.loads(files(package).joinpath("refusals.toml").read_text("utf-8"))
    for line in RefusalTable(package, *tables):
        assert line.codes or line.phrases
        for text in (*line.codes, *line.phrases):
            assert not re.search(r"(?<!\\)[A-Z]", text.replace("?P<", ""))  # what is searched is in lower case
        assert all(map(re.compile, line.phrases))


@pytest.mark.parametrize(
    "message",
    [
        "The image format webp is not supported by this model",
        "You uploaded an unsupported image. Use one of png, jpeg",
        "The file type you uploaded is not supported. Please try again with a pdf",
        "image.source.base64.data: URL sources are not supported",
        "Invalid 'temperature': decimal below minimum value",
        "Unknown parameter: 'quality'.",
        "Tool choice is required, but model did not call a tool",
        "No tool output found for tool call call-a.",
        "Invalid 'tools[0].function.name': string does not match pattern",
        "Error while downloading https://files.example/cat.png.",
    ],
)
def test_a_mistake_of_the_request_says_nothing_about_the_model(message):
    assert type(error_from_status(400, {}, {"error": {"message": message, "type": "invalid_request_error"}})) is BadRequestError


@pytest.mark.parametrize(
    "message",
    ["Too many tokens, please wait before trying again.", "context length quota: slow down", "image not supported by model"],
)
def test_a_429_is_no_verdict_on_the_request_or_the_model(message):
    assert type(error_from_status(429, {}, {"message": message})) is RateLimitError


def test_a_5xx_stays_a_failure_of_the_service_unless_the_model_cannot():
    assert type(error_from_status(503, {}, {"error": {"message": "no such model", "code": "insufficient_quota"}})) is ServerError
    error = error_from_status(500, {}, {"error": {"message": "image input is not supported", "type": "server_error"}})
    assert type(error) is CapabilityError
    assert not error.retryable


@pytest.mark.parametrize("number", [429, "429"])
@pytest.mark.parametrize("key", ["code", "status", "status_code"])
def test_an_error_in_an_answer_has_the_status_that_it_names(number, key):
    error = error_from_status(200, {}, {"error": {"message": "slow down", key: number}})
    assert type(error) is RateLimitError
    assert error.status == 429


def test_the_type_in_the_headers_of_aws_counts():
    headers = {"x-amzn-ErrorType": "ThrottlingException:http://internal.amazon.com/"}
    assert type(error_from_status(400, headers, {"message": "slow"})) is RateLimitError


@pytest.mark.parametrize("name", REQUEST_IDS)
def test_the_request_id_of_every_vendor_is_kept(name):
    assert error_from_status(500, {name.title(): "req-7"}).request_id == "req-7"


def test_the_services_own_request_id_comes_before_that_of_a_proxy():
    headers = {"CF-Ray": "ray", "x-request-id": "req-7"}
    assert error_from_status(500, headers).request_id == "req-7"
    assert error_from_status(500, {}, {"type": "error", "error": {"message": "x"}, "request_id": "req_8"}).request_id == "req_8"
    assert error_from_status(500, {}, {"request_id": 7}).request_id == ""


OWN = Refusal(error=ForbiddenError, phrases=["moon (?:is )?full"], hint="; wait a night")


def test_the_lines_of_a_plugin_come_first():
    said = {"error": {"message": "Moon is full: no such model"}}
    error = error_from_status(400, {}, said, refusals=[OWN])
    assert type(error) is ForbiddenError
    assert str(error).endswith("; wait a night")
    assert type(error_from_status(503, {}, said, refusals=[OWN])) is ServerError


def test_a_line_of_a_plugin_may_name_its_statuses_and_its_capability():
    line = Refusal(error=CapabilityError, codes=["no_moon"], capability="moon", only=[503])
    error = error_from_status(503, {}, {"error": {"code": "No-Moon"}}, refusals=[line])
    assert isinstance(error, CapabilityError)
    assert error.capability == "moon"
    assert type(error_from_status(400, {}, {"error": {"code": "no_moon"}}, refusals=[line])) is BadRequestError


def test_a_key_is_removed_after_the_words_were_read():
    error = error_from_status(
        400, {}, {"error": {"message": "Incorrect API key provided"}}, redact=lambda text: text.replace("k", "***")
    )
    assert type(error) is providerhub.AuthenticationError
    assert "API ***ey" in str(error)
    assert "API ***ey" in error.excerpt


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "%s", "details": [{"a": [{"retryDelay": "31s"}]}]}}' % ("long " * 400),
        '{"error": {"message": "Provider returned error", "metadata": {"raw": "{\\"error\\": {\\"retryDelay\\": \\"31s\\"}}"}}}',
        '{"error": {"message": "the answer is cut", "details": [{"retryDelay": "31s"}, {"',
    ],
)
def test_googles_delay_counts_anywhere_in_the_body(body):
    assert error_from_status(429, {}, body).retry_after == 31.0
    assert error_from_status(429, {"retry-after-ms": "0", "retry-after": "2"}, body).retry_after == 2.0
