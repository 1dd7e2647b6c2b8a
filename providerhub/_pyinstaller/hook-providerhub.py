"""Collect what `providerhub` finds at run time: its own modules, the installed plugins, and their entry points."""

from importlib.metadata import distributions

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

hiddenimports = collect_submodules("providerhub", filter=lambda name: "_pyinstaller" not in name)
datas = collect_data_files("providerhub")
for distribution in distributions():
    groups = [entry for entry in distribution.entry_points if entry.group.partition(".")[0] == "providerhub"]
    if groups or distribution.metadata["Name"] == "providerhub":
        datas += copy_metadata(distribution.metadata["Name"])
    for package in {entry.value.partition(":")[0].partition(".")[0] for entry in groups}:
        hiddenimports += collect_submodules(package)
        datas += collect_data_files(package)
