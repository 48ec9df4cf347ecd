"""Data files: windows and their truth, from arrays, tables, folders of sounds or images, or a callable."""

from __future__ import annotations

import csv
import importlib
import io
import re
import sys
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base import plugins
from edge_sdk.base.errors import CalibrationError

Arrays = tuple[NDArray[Any], NDArray[Any] | None]
_CALLABLE = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
_WANTED = (
    "Wanted is a .npz with x (n, …) and y, a .npy, a .csv, a .parquet, a folder of WAV files or of images, or "
    "module:function."
)
IMAGES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def read_arrays(given: Path | str) -> Arrays:
    """Read x and, where it is there, y.

    - ``.npz``: arrays ``x`` and ``y``; ``.npy``: ``x`` alone. Pickles are never loaded.
    - ``.csv``: a header, then a window of one sample in each row; a column ``y`` is the truth.
    - ``.parquet``: a column ``x`` of lists holds a window in each row; else as ``.csv``.
    - a folder: WAV files of one length and rate, one window each, values -1 to 1; or images of one size, values 0 to
      255; sub-folders are the classes, in the order of their names.
    - ``module:function``: called without arguments; gives ``x`` or ``(x, y)``.

    Raises:
        CalibrationError: It is none of these, or not readable.
        MissingExtraError: Parquet, and pyarrow is not installed; images, and pillow is not.
    """
    text = str(given)
    path = Path(given)
    if _CALLABLE.match(text) and not path.exists():
        return _call(text)
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".csv":
        return _read_csv(path)
    if path.suffix in {".parquet", ".pq"}:
        return _read_parquet(path)
    return _read_numpy(path)


def _read_numpy(path: Path) -> Arrays:
    try:
        with path.open("rb") as file:
            loaded = np.load(io.BytesIO(file.read()), allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"{path} cannot be read as data: {error}. {_WANTED}") from error
    if isinstance(loaded, np.ndarray):
        return loaded, None
    with loaded:
        if "x" not in loaded:
            raise CalibrationError(f"{path} holds {', '.join(loaded) or 'nothing'}; wanted is x (n, …), and y.")
        try:
            return loaded["x"], loaded.get("y")
        except ValueError as error:
            raise CalibrationError(f"{path} holds arrays that are no plain numbers: {error}.") from error


def _read_csv(path: Path) -> Arrays:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise CalibrationError(f"{path} cannot be read as CSV with a header: {error}.") from error
    try:
        values = np.array([[float(cell) for cell in row] for row in rows if row], dtype=np.float64)
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}. Every cell under the header is a number.") from error
    if values.ndim != 2 or values.shape[1] != len(header):
        raise CalibrationError(f"{path} has {len(header)} columns in its header, and rows of other lengths or none.")
    names = [name.strip() for name in header]
    if "y" not in names:
        return values, None
    return np.delete(values, names.index("y"), axis=1), values[:, names.index("y")]


def _read_parquet(path: Path) -> Arrays:
    try:
        from converters.data.pyarrow import read_parquet
    except ModuleNotFoundError as error:
        raise plugins.missing_extra(f"{path}", error) from error
    return read_parquet(path)


def _read_folder(folder: Path) -> Arrays:
    sounds = sorted(folder.rglob("*.wav"))
    images = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGES)
    if bool(sounds) == bool(images):
        what = "WAV files and images" if sounds else "neither WAV files nor images"
        raise CalibrationError(f"{folder} holds {what}. {_WANTED}")
    files = sounds or images
    if sounds:
        x = _read_wavs(files)
    else:
        try:
            from converters.data.pillow import read_images
        except ModuleNotFoundError as error:
            raise plugins.missing_extra(f"{folder}", error) from error
        x = read_images(files)
    inside = [file.parent != folder for file in files]
    if not any(inside):
        return x, None
    if not all(inside):
        raise CalibrationError(
            f"{folder} has files beside its sub-folders, such as {files[inside.index(False)].name}: put each into the "
            "sub-folder of its class."
        )
    names = [file.relative_to(folder).parts[0] for file in files]
    classes = sorted(set(names))
    return x, np.array([classes.index(name) for name in names])


def _read_wavs(files: list[Path]) -> NDArray[np.float32]:
    windows, rates = [], set()
    for file in files:
        try:
            with wave.open(str(file)) as sound:
                width, n_channels = sound.getsampwidth(), sound.getnchannels()
                rates.add((sound.getframerate(), sound.getnframes(), n_channels))
                raw = sound.readframes(sound.getnframes())
        except (OSError, EOFError, wave.Error) as error:
            raise CalibrationError(f"{file} is no WAV file: {error}.") from error
        if width != 2:
            raise CalibrationError(f"{file} has {8 * width} bits a sample; wanted are 16.")
        windows.append(np.frombuffer(raw, "<i2").reshape(-1, n_channels) / np.float32(32768))
    if len(rates) != 1:
        shown = ", ".join(f"{rate} Hz x {length} x {n_channels}" for rate, length, n_channels in sorted(rates)[:4])
        raise CalibrationError(
            f"{files[0].parent} mixes WAV files of {shown}; wanted is one rate and length. Cut them alike."
        )
    return np.stack(windows)


def _call(name: str) -> Arrays:
    """Call the user's function; modules in the current folder are found, as with ``python -m``."""
    module, _, function = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function)
        answer = found()
    except Exception as error:  # the user's code raises whatever it raises
        raise CalibrationError(f"{name} cannot be called: {type(error).__name__}: {error}. {_IMPORTABLE}") from error
    finally:
        sys.path.remove(here)
    x, y = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    try:
        return np.asarray(x), None if y is None else np.asarray(y)
    except ValueError as error:
        raise CalibrationError(f"{name} gives no arrays: {error}. Wanted is x (n, …), or (x, y).") from error


_IMPORTABLE = "Wanted is module:function that gives x or (x, y), importable from the current folder."
