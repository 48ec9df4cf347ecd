"""A board's profile: what it is, what runs on it, and where each fact comes from. Data of ``device_configs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.base.ids import check_id
from edge_sdk.base.yaml import read_plain

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "device_configs", _HERE.parent.parent / "device_configs")  # in the wheel, in a clone

Rules = Literal["xnnpack", "edgetpu", "nnapi", "gpu", "tensorrt", "cuda", "cpu"]


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A runtime that the board can have.

    Attributes:
        name: ``litert``, ``tflite`` (tflite-runtime), ``onnxruntime``.
        version: The version that is installed there; a model must not need a newer one.
        delegates: Delegates or execution providers it is asked for, in order.
        note: What one must know to install it.
    """

    name: Literal["litert", "tflite", "onnxruntime"]
    version: str
    delegates: tuple[str, ...] = ()
    note: str = ""


class Accelerator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What computes besides the CPU.

    Attributes:
        name: For people.
        rules: Whose operator rules say what it takes.
        delegate: Name of the delegate or execution provider that drives it.
        memory_bytes: Memory of its own, for weights; None = the board's.
        precisions: What it computes in.
    """

    name: str
    rules: Rules
    delegate: str
    memory_bytes: int | None = None
    precisions: tuple[str, ...]


class ThermalZone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the board says how hot it is.

    Attributes:
        path: A file with thousandths of a degree Celsius.
        throttle_c: Where the firmware begins to slow the board down; None = not published.
    """

    path: str
    throttle_c: float | None = None


class Board(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board.

    Attributes:
        name: Its id: the file's name.
        title: For people.
        architecture: As ``uname -m`` says it.
        cpu: The cores' name.
        cores: Number of them.
        cpu_dot_product: Whether the cores have int8 dot products: without them int8 is hardly faster than float.
        memory_bytes: Memory that the board is sold with, the smallest that is meant.
        device_tree: Entries of its device tree's ``compatible`` that name it: how it knows itself.
        runtimes: What can be installed, the better first.
        accelerators: What computes besides the CPU, the better first.
        precisions: What runs well, the better first; what is not named still runs on the CPU.
        thermal_zones: Where it says how hot it is.
        notes: What one must know.
        sources: Where the facts come from, by field.
    """

    name: str
    title: str
    architecture: Literal["aarch64", "armv7l", "x86_64"]
    cpu: str
    cores: int
    cpu_dot_product: bool
    memory_bytes: int
    device_tree: tuple[str, ...] = ()
    runtimes: tuple[Runtime, ...]
    accelerators: tuple[Accelerator, ...] = ()
    precisions: tuple[str, ...]
    thermal_zones: tuple[ThermalZone, ...] = ()
    notes: tuple[str, ...] = ()
    sources: dict[str, str]

    def __post_init__(self) -> None:
        check_id("A board's name", self.name)
        if not self.runtimes or not self.precisions:
            raise ConfigError(f"Board {self.name} names no runtime or no precision: nothing could run there.")
        if unknown := sorted(self.sources.keys() - set(self.__struct_fields__)):
            raise ConfigError(
                f"Board {self.name} names a source for {unknown[0]!r}. {nearest(unknown[0], self.__struct_fields__)}"
            )

    @property
    def formats(self) -> tuple[Literal["tflite", "onnx"], ...]:
        """Formats that its runtimes read, in their order."""
        reads: dict[str, Literal["tflite", "onnx"]] = {"litert": "tflite", "tflite": "tflite", "onnxruntime": "onnx"}
        return tuple(dict.fromkeys(reads[runtime.name] for runtime in self.runtimes))

    @property
    def rules(self) -> tuple[Rules, ...]:
        """Whose operator rules matter, accelerators first, then the CPU's own delegate."""
        own: tuple[Rules, ...] = ("xnnpack",) if "tflite" in self.formats else ()
        return tuple(dict.fromkeys((*(accelerator.rules for accelerator in self.accelerators), *own)))


def board_names() -> tuple[str, ...]:
    """Names of the boards that come with the package, sorted."""
    return tuple(sorted(path.stem for path in folder().glob("*.yaml")))


def read_board(name: str | Path) -> Board:
    """Read a profile by its name, or by the path of your own file.

    Args:
        name: One of `board_names`, or a path that ends in ``.yaml`` or ``.yml``.

    Raises:
        ConfigError: No board has that name (the message offers the nearest), or the file is wrong.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        path = folder() / f"{name}.yaml"
        if str(name) not in board_names():
            raise ConfigError(
                f"No board is called {str(name)!r}. {nearest(str(name), board_names())} "
                "Your own is a file: --board my-board.yaml"
            )
    given = read_plain(path)
    if not isinstance(given, Mapping):
        raise ConfigError(f"Board profile {path} is no mapping of names to values.")
    return _board(path, {"name": path.stem, **given})


def _board(path: Path, given: Mapping[str, Any]) -> Board:
    for key in given:
        if key not in Board.__struct_fields__:
            raise ConfigError(f"{path}: {key!r} is not a key of a board. {nearest(str(key), Board.__struct_fields__)}")
    try:
        return msgspec.convert(given, Board)
    except (msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def folder() -> Path:
    """Where the profiles lie."""
    return next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
