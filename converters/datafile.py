"""Data files: windows and their truth, from ``.npz``, ``.npy``, ``.csv``, a folder of WAVs, or a callable."""

from __future__ import annotations

import csv
import importlib
import io
import re
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import CalibrationError

Arrays = tuple[NDArray[Any], NDArray[Any] | None]
_CALLABLE = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
_WANTED = "Wanted is a .npz with x (n, …) and y, a .npy, a .csv, a folder of WAV files, or module:function."


def read_arrays(given: Path | str) -> Arrays:
    """Read x and, where it is there, y.

    - ``.npz``: arrays ``x`` and ``y``; ``.npy``: ``x`` alone. Pickles are never loaded.
    - ``.csv``: a header, then a window of one sample in each row; a column ``y`` is the truth.
    - a folder: WAV files of one length and rate, one window each, values -1 to 1; sub-folders are the classes, in the
      order of their names.
    - ``module:function``: called without arguments; gives ``x`` or ``(x, y)``.

    Raises:
        CalibrationError: It is none of these, or not readable.
    """
    text = str(given)
    path = Path(given)
    if _CALLABLE.match(text) and not path.exists():
        return _call(text)
    if path.is_dir():
        return _read_wavs(path)
    if path.suffix == ".csv":
        return _read_csv(path)
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


def _read_wavs(folder: Path) -> Arrays:
    files = sorted(folder.rglob("*.wav"))
    if not files:
        raise CalibrationError(f"{folder} holds no .wav file. {_WANTED}")
    classes = sorted({file.parent.name for file in files if file.parent != folder})
    windows, truth, rates = [], [], set()
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
        truth.append(classes.index(file.parent.name) if file.parent != folder else -1)
    if len(rates) != 1:
        shown = ", ".join(f"{rate} Hz x {length} x {n_channels}" for rate, length, n_channels in sorted(rates)[:4])
        raise CalibrationError(f"{folder} mixes WAV files of {shown}; wanted is one rate and length. Cut them alike.")
    return np.stack(windows), np.array(truth) if classes and min(truth) >= 0 else None


def _call(name: str) -> Arrays:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise CalibrationError(f"{name} cannot be called: {error}. Is it importable from here?") from error
    answer = found()
    x, y = answer if isinstance(answer, tuple) else (answer, None)
    return np.asarray(x), None if y is None else np.asarray(y)
