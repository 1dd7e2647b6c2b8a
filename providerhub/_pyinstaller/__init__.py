"""The hook for PyInstaller, which finds it by the entry-point group `pyinstaller40`."""

import os


def get_hook_dirs() -> list[str]:
    """Return the folder of the hook files."""
    return [os.path.dirname(__file__)]
