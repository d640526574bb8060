"""Packages whose public names are imported when they are first asked for (PEP 562).

A package that gathers the names of its modules makes whoever imports one light module of it pay for
all. The daemon's start reads its settings first, with a few light modules of heavy packages.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping


def exports(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of `package`: of each of its modules the names, with blanks between them.

    The package says the same once more below `if TYPE_CHECKING:`; a test compares the two.
    """
    home = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = f"{package}.{home[name]}"
        __import__(module)  # as a statement does; `-X importtime` tells of no `import_module`
        value: object = getattr(sys.modules[module], name)
        setattr(sys.modules[package], name, value)
        return value

    return get
