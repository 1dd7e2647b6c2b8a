"""The mistakes of plugin authors. Each raises an error that names the fix."""

import pytest

from providerhub import (
    Citation,
    Detail,
    Finish,
    Hub,
    Media,
    ModelInfo,
    PluginError,
    ProviderInfo,
    Settings,
    ToolCallDelta,
    Usage,
    UsageDelta,
)

FAILS = """
import providerhub
try:
    print("answer:", providerhub.complete("acme/acme-model", "Hello"))
except providerhub.ProviderHubError as error:
    print(type(error).__name__, error)
"""
STATES = """
import providerhub
for view in providerhub.Hub().instances():
    print(f"{view.name}|{view.state}|{view.reason}|{' '.join(view.notes)}")
for broken in providerhub.Hub().malformed():
    print(f"malformed|{broken.distribution}|{broken.reason}")
"""


def _fails(stream):
    provider = type("P", (), {"stream": stream})()
    with Hub(Settings(autoload=False)) as hub:
        hub.register(ProviderInfo(name="acme", models=("m",)), provider)
        with pytest.raises(PluginError) as caught:
            hub.complete("m", "Hello")
    return str(caught.value)


async def _agen(self, request, call):
    yield "x"


async def _coroutine(self, request, call):
    return "x"


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (lambda *_: "text", "stream() returned str; it must return an iterable of pieces: `yield` each, as a generator"),
        (lambda *_: {"text": "x", "usage": 1}, "stream() returned dict; it must return an iterable of pieces"),
        (lambda *_: None, "stream() returned NoneType, which is not iterable; make it a generator"),
        (_agen, "rename an `async def stream` to astream"),
        (_coroutine, "rename an `async def stream` to astream"),
    ],
    ids=["str", "dict", "None", "async generator", "coroutine"],
)
def test_a_value_in_place_of_pieces(stream, said):
    assert said in _fails(stream)


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        ({"text": "x"}, "yielded dict; it may yield str or one of TextDelta"),
        (None, "yielded NoneType; it may yield str or one of TextDelta"),
        (Finish, "yielded the class Finish; it may yield str"),
        (UsageDelta({"input_tokens": 1}), "UsageDelta whose usage is {'input_tokens': int}; it must be a Usage, such as Usage("),
        (UsageDelta(Usage(input_tokens="1")), "Usage whose input_tokens is '1'; it must be a whole number, or None"),
        (UsageDelta(Usage(reasoning_tokens=True)), "Usage whose reasoning_tokens is True; it must be a whole number, or None"),
        (UsageDelta(Usage(input_tokens=1, cost="0.1")), "Usage whose cost is '0.1'; it must be a finite number, or None"),
        (Finish(3), "Finish whose reason is int; it must be a text, or None"),
        (Finish("stop", said=3), "Finish whose said is int; it must be a text, or None"),
        (ToolCallDelta(id=3, name="f"), "ToolCallDelta whose id is int; it must be a text, or None"),
        (ToolCallDelta(id="a", name=3), "ToolCallDelta whose name is int; it must be a text, or None"),
        (ToolCallDelta("0", "a", "f"), "ToolCallDelta whose index is '0'; it must be a whole number"),
        (ToolCallDelta(0, "a", "f", {"x": 1}), "ToolCallDelta whose arguments is {'x': int}; it must be a text"),
        (Detail(3, "x"), "Detail whose name is 3; it must be a text that is not empty"),
        (Media("image", base64=b"x"), "Media whose base64 is bytes; it must be a text"),
        (Citation(start="3"), "Citation whose start is '3'; it must be a whole number, or None"),
    ],
    ids=repr,
)
def test_a_piece_of_the_wrong_type(piece, said):
    assert said in _fails(lambda *_: iter(["text", piece, Finish()]))


def test_a_wrong_field_of_a_later_piece():
    later = ToolCallDelta(0, arguments=3), ToolCallDelta(0, id=4)
    for piece in later:
        assert "must be a text" in _fails(lambda *_, piece=piece: iter([ToolCallDelta(0, "a", "f"), piece, Finish()]))
    usage = UsageDelta(Usage(input_tokens=1)), UsageDelta(Usage(output_tokens="2"))
    assert "output_tokens is '2'" in _fails(lambda *_: iter(["text", *usage, Finish()]))


def test_an_asynchronous_embed_names_its_other_name():
    provider = type("P", (), {"stream": lambda *_: iter("x"), "embed": _coroutine})()
    with Hub(Settings(autoload=False)) as hub:
        hub.register(ProviderInfo(name="acme", models=(ModelInfo("m", supports_embeddings=True),)), provider)
        with pytest.raises(PluginError, match=r"embed\(\) returned coroutine; .*; rename an `async def embed` to aembed"):
            hub.embed("m", "Hello")


def test_a_capability_that_is_a_text():
    with pytest.raises(ValueError, match="supports_stream must be true or false, or None, not 'no'"):
        ModelInfo("m", supports_stream="no")


@pytest.mark.parametrize("group", ["providerhub.providers", "provider_hub", "providerhub_plugins"])
def test_an_entry_point_in_a_group_that_nothing_reads(site, group):
    site.plugin("good")
    site.distribution("dist-acme", f"[{group}]\nacme = providerhub_acme\n")
    out = site.run(STATES)
    assert "good|ready" in out
    assert f"malformed|dist-acme|its entry point 'acme' is in the group '{group}', which nothing reads" in out
    assert "write it under [project.entry-points.providerhub]" in out


def test_without_a_plugin_the_error_names_the_wrong_group(site):
    site.distribution("dist-acme", "[providerhub.plugins]\nacme = providerhub_acme\n")
    block = "import providerhub._finding.installed as i\nf = i.distributions\n"
    block += "i.distributions = lambda: (d for d in f() if 'dist_acme' in str(d.path))\n"
    assert "dist-acme: its entry point 'acme' is in the group 'providerhub.plugins'" in site.run(block + FAILS)


def test_a_group_of_its_own_beside_a_plugin_is_no_mistake(site):
    site.plugin("good", distribution="other")
    site.distribution("dist-acme", "[providerhub]\nacme = plug_good\n[providerhub.acme_extras]\nextra = plug_good\n")
    assert "malformed" not in site.run(STATES)


def test_a_name_that_differs_asks_for_another_installation(site):
    site.plugin("other", entry="acme")
    out = site.run(STATES)
    assert "acme|broken|the entry point is named 'acme', but its ProviderInfo 'other': give both the same name" in out
    assert "install the distribution again" in out


INFO = """
from providerhub import ModelInfo, ProviderInfo, hookimpl

@hookimpl
def providerhub_provider():
    return ProviderInfo(name="acme", models=("acme-model",), {fields})
"""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            'factory="plug_acme_heavy:creat"',
            "acme|broken|factory='plug_acme_heavy:creat': the module 'plug_acme_heavy' has no",
        ),
        (
            'factory="plug_acme_heavi:create"',
            "acme|broken|factory='plug_acme_heavi:create': there is no module 'plug_acme_heavi'",
        ),
        ('factory="absent.heavy:create"', "acme|broken|factory='absent.heavy:create': finding the module"),
        ('factory="plug_acme_heavy:create", discover="plug_acme_heavy:lst"', "acme|ready||it cannot list its models: discover="),
        ('factory="plug_acme_heavy:create"', "acme|ready||"),
    ],
)
def test_a_factory_that_is_not_there_shows_before_the_first_call(site, fields, said):
    site.plugin("acme", INFO.replace("{fields}", fields))
    out = site.run(STATES + "import sys; assert 'plug_acme_heavy' not in sys.modules\n")
    assert said in out
    assert ("did you mean 'create'?" in out) == ("has no" in said)


@pytest.mark.parametrize(
    "source", ["from plug_acme import *\n", "def __getattr__(name): return 1\n", "globals()['cre' + 'ate'] = 1\n"]
)
def test_a_name_that_a_module_makes_at_run_time_may_be_there(site, source):
    site.plugin("acme", INFO.replace("{fields}", 'factory="plug_acme_heavy:create"'))
    site.write("plug_acme_heavy.py", source)
    assert "acme|ready" in site.run(STATES)


@pytest.mark.parametrize("where", ["__init__", "stream"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("config.options['region']", "declare Setting('region') in the ProviderInfo with required=True or a default"),
        ("config.api_key.reveal()", "no key is set: declare needs_auth=True in the ProviderInfo"),
    ],
)
def test_a_setting_that_is_not_declared(site, where, code, said):
    site.plugin("acme")
    lines = {
        "__init__": f"def create(config):\n    {code}\n",
        "stream": (
            "class create:\n    def __init__(self, config): self.config = config\n"
            f"    def stream(self, request, call):\n        yield self.{code}\n"
        ),
    }
    site.write("plug_acme_heavy.py", lines[where])
    out = site.run(FAILS)
    assert out.startswith("PluginError")
    assert said in out


def test_options_are_an_ordinary_mapping_otherwise(site):
    site.plugin(
        "acme",
        INFO.replace("import ", "import Setting, ").replace(
            "{fields}", 'factory="plug_acme_heavy:create", settings=[Setting("a", default="1")]'
        ),
    )
    site.write(
        "plug_acme_heavy.py",
        "import copy, pickle\n"
        "def create(config):\n"
        "    options = config.options\n"
        "    assert options == {'a': '1'} == pickle.loads(pickle.dumps(options)) == copy.deepcopy(options)\n"
        "    assert options.get('b') is None and 'b' not in options\n"
        "    return type('P', (), {'stream': lambda self, request, call: iter(['fine'])})()\n",
    )
    assert site.run(FAILS) == "answer: fine\n"
