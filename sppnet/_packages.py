"""The packages that sppnet is made of, whatever lies first on the path.

`data`, `detection`, `proposals` and `classification` are common names: a script's own folder, which Python searches
first, may hold a `data.py`. Importing sppnet imports the packages that lie beside it, so that later imports find
these.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

NAMES = ("data", "detection", "proposals", "classification")
ROOT = Path(__file__).resolve().parents[1]


def claim() -> None:
    """Import the project's packages from beside this one.

    Raises:
        ImportError: another module of such a name is imported already.
    """
    for name in NAMES:
        if name in sys.modules:
            _check(name, sys.modules[name])
        else:
            _load(name)


def _check(name: str, module: ModuleType) -> None:
    file = getattr(module, "__file__", None)
    if file is None or Path(file).resolve().parents[1] != ROOT:
        raise ImportError(
            f"sppnet has a package {name!r}, but another module of that name is imported already "
            f"({file or 'a namespace package'}); import sppnet before it, or rename it"
        )


def _load(name: str) -> None:
    spec = PathFinder.find_spec(name, [str(ROOT)])
    if spec is None or spec.loader is None or not spec.origin:
        raise ImportError(f"sppnet: its package {name!r} is missing in {ROOT}; install sppnet again")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
