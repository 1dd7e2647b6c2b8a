"""Installed distributions: in folders, the result is that of importlib-metadata; elsewhere, importlib-metadata finds them."""

import sys
import zipfile

import importlib_metadata
import pytest

from providerhub._finding.installed import distributions, entry_points, name_and_version, name_of

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\nA text.\n"
ENTRIES = "[providerhub]\nacme = acme\n"


@pytest.fixture
def found(monkeypatch):
    """`found(path, ...)`: name, version and entries of what lies there."""

    def find(*path):
        monkeypatch.setattr(sys, "path", [str(entry) for entry in path])
        return [(*name_and_version(d), list(entry_points(d.read_text("entry_points.txt") or ""))) for d in distributions()]

    return find


def _install(folder, name, kind=".dist-info", metadata="METADATA"):
    place = folder / f"{name}{kind}"
    place.mkdir(parents=True)
    (place / metadata).write_text(METADATA.format(name=name), encoding="utf-8")
    (place / "entry_points.txt").write_text(ENTRIES, encoding="utf-8")


def _expected(name):
    return (name, "1.0", [("providerhub", "acme", "acme")])


def test_this_very_environment_is_read_as_the_library_reads_it():
    mine = {name_of(d): sorted(entry_points(d.read_text("entry_points.txt") or "")) for d in distributions()}
    theirs = {
        d.metadata["Name"]: sorted((e.group, e.name, e.value.partition("[")[0].strip()) for e in d.entry_points)
        for d in importlib_metadata.distributions()
    }
    assert mine == theirs


@pytest.mark.parametrize(
    ("kind", "metadata"), [(".dist-info", "METADATA"), (".egg-info", "PKG-INFO"), (".DIST-INFO", "METADATA")]
)
def test_a_folder_of_the_path(tmp_path, found, kind, metadata):
    _install(tmp_path, "acme", kind, metadata)
    assert found(tmp_path) == [_expected("acme")]


def test_an_egg(tmp_path, found):
    egg = tmp_path / "acme-1.0-py3.11.egg"
    _install(egg, "EGG-INFO", "", "PKG-INFO")
    assert found(egg) == [_expected("EGG-INFO")]


def test_an_archive(tmp_path, found):
    _install(tmp_path / "content", "acme")
    with zipfile.ZipFile(tmp_path / "acme.zip", "w") as archive:
        for file in (tmp_path / "content" / "acme.dist-info").iterdir():
            archive.write(file, file.relative_to(tmp_path / "content"))
    assert found(tmp_path / "acme.zip") == [_expected("acme")]


def test_a_finder_of_another_kind(tmp_path, found, monkeypatch):
    _install(tmp_path, "acme")

    class Finder:
        @staticmethod
        def find_distributions(_context):
            return [importlib_metadata.Distribution.at(tmp_path / "acme.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [Finder()])
    assert found() == [_expected("acme")]


def test_the_order_is_that_of_the_path_and_missing_folders_are_skipped(tmp_path, found, monkeypatch):
    for name in ("first", "second", "here"):
        _install(tmp_path / name, name)
    monkeypatch.chdir(tmp_path / "here")
    names = [name for name, _, _ in found(tmp_path / "second", tmp_path / "none", "", tmp_path / "first")]
    assert names == ["second", "here", "first"]


def test_an_entry_of_the_path_that_is_no_text_is_passed_over_as_imports_do(tmp_path, monkeypatch):
    _install(tmp_path, "acme")
    monkeypatch.setattr(sys, "path", [tmp_path, b"/", 3])
    assert list(distributions()) == []


def test_a_file_on_the_path_and_metadata_without_a_name(tmp_path, monkeypatch):
    (tmp_path / "old.egg-info").write_text("Name: old\n", encoding="utf-8")
    (tmp_path / "empty.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    broken = list(distributions())
    assert sorted(map(name_of, broken)) == sorted(str(place) for place in tmp_path.iterdir())
    for distribution in broken:
        with pytest.raises(ValueError, match="no name"):
            name_and_version(distribution)


def test_entries_are_parsed_by_the_specification():
    text = "before = ignored\n; a comment\n[ providerhub ]\n# another\n a = b:c [extra]\n\n[other]\nd=e = f\n"
    assert list(entry_points(text)) == [("providerhub", "a", "b:c"), ("other", "d", "e = f")]
    with pytest.raises(ValueError, match="'nonsense' is not of the form name = value"):
        list(entry_points("[providerhub]\nnonsense\n"))
