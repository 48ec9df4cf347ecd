"""Custom objects: modules of the user that hold what a model file names and does not contain."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from edge_sdk.base.errors import ConfigError, ConversionError, nearest

_GIVEN = re.compile(r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")


def digests(given: Sequence[str]) -> dict[str, str]:
    """The digest of each module's file: a model with other layers is another model.

    Args:
        given: ``module`` or ``module:Name``, found from the current folder too.

    Raises:
        ConfigError: It is not that form, or there is no such module.
    """
    found = {}
    for name in given:
        if not _GIVEN.match(name):
            raise ConfigError(f"--custom-objects {name!r} is not understood; wanted is module or module:Name.")
        module = name.partition(":")[0]
        with _from_here():
            try:
                spec = importlib.util.find_spec(module)
            except ModuleNotFoundError:
                spec = None
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            raise ConfigError(f"There is no module {module!r}, neither in the current folder nor installed.")
        found[name] = "sha256:" + hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
    return found


def load(given: Sequence[str]) -> dict[str, Any]:
    """Import what was named: the one object of ``module:Name``; of a module alone every class that it defines.

    Raises:
        ConversionError: It cannot be imported, or has no such name.
    """
    found: dict[str, Any] = {}
    for name in given:
        module_name, _, wanted = name.partition(":")
        with _from_here():
            try:
                module = importlib.import_module(module_name)
            except Exception as error:  # the user's code raises whatever it raises
                raise ConversionError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
        known = _classes(module)
        if wanted and not hasattr(module, wanted):
            raise ConversionError(f"{module_name} has no {wanted!r}. {nearest(wanted, known)}")
        found |= {wanted: getattr(module, wanted)} if wanted else known
    return found


def _classes(module: ModuleType) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }


@contextmanager
def _from_here() -> Iterator[None]:
    """Modules in the current folder are found, as with ``python -m``."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
