"""Hook plugins that take part in the calls of a hub according to its settings."""

import pytest

from providerhub import ConfigurationError, Hub, Settings

JOINING = """
from providerhub import ConfigurationError, hookimpl

class Part:
    @hookimpl
    def providerhub_call_finished(self, route):
        print("finished", len(route.attempts))

@hookimpl
def providerhub_join(settings):
    if "wrong" in settings.aliases:
        raise ConfigurationError("keep is wrong")
    if "broken" in settings.aliases:
        raise RuntimeError("broken")
    return Part() if "enabled" in settings.aliases else None
"""

CALL = """
from providerhub import ConfigurationError, Hub, Settings
from providerhub._finding import discovery
discovery.OURS["tables"] = {"budgets": "joins"}
try:
    hub = Hub(Settings(aliases={"%s": "x"}, budgets=%r))
    print(hub.complete("a-model", "x"), *(bad for bad in hub.malformed() if bad.distribution == "joins"))
except ConfigurationError as error:
    print(error)
"""


BUDGET = {"limit": 1, "match": {"model": "another"}}
"""A budget that the journal's plugin accepts too, where it is installed, and that no call here belongs to."""


@pytest.fixture
def run(site):
    site.write("joining.py", JOINING)
    site.distribution("joins", "[providerhub.hooks]\njoins = joining\n")
    site.plugin("a")
    return lambda mode, **budgets: site.run(CALL % (mode, budgets))


def test_a_plugin_joins_the_hubs_whose_settings_ask_for_it(run):
    assert run("enabled", all=BUDGET) == "finished 1\na says: x\n"


def test_a_plugin_stays_out_of_other_hubs(run):
    assert run("other") == "a says: x\n"


def test_a_plugin_refuses_its_settings(run):
    assert run("wrong") == "keep is wrong\n"


def test_a_plugin_that_raises_takes_no_part_and_is_listed(run):
    assert "a says: x Malformed(distribution='joins', reason='providerhub_join raised RuntimeError: broken')" in run("broken")


def test_the_log_names_hooks_that_are_not_used(site):
    site.write("counting.py", "from providerhub import hookimpl\n@hookimpl\ndef providerhub_call_finished(rout): ...\n")
    site.distribution("counts", "[providerhub.hooks]\ncounts = counting\n")
    said = site.run("import logging, sys; logging.basicConfig(stream=sys.stdout)\nimport providerhub; providerhub.Hub()")
    assert said.startswith("WARNING:providerhub:the hooks of counts (counting) are not used: incompatible: ")
    assert "providerhub_call_finished has no argument 'rout'; it may take route, call" in said


def test_a_budget_of_a_plugin_that_raises_is_refused(run):
    assert "the settings: [budgets] needs the plugin 'joins'" in run("broken", all=BUDGET)


@pytest.mark.parametrize(
    "tables", [{"journal": {"enabled": True}}, {"budgets": {"all": {"limit": 1}}}, {"cache": {"url": "memory"}}]
)
def test_a_table_whose_plugin_is_not_loaded_is_refused(tables):
    (table,) = tables
    with pytest.raises(ConfigurationError, match=rf"the settings: \[{table}\] needs the plugin .* pip install providerhub-"):
        Hub(Settings(autoload=False, **tables))


def test_the_error_names_the_line_of_the_table(tmp_path):
    (tmp_path / "settings.toml").write_text("autoload = false\n[budgets.all]\nlimit = 20\n")
    with pytest.raises(ConfigurationError, match=r"settings\.toml:2: \[budgets\] needs"):
        Hub(Settings.load(tmp_path / "settings.toml"))


def test_a_journal_that_is_not_enabled_needs_no_plugin():
    Hub(Settings(autoload=False, journal={"keep": "30d"})).close()
