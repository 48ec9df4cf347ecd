from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from converters.datafile import read_arrays
from edge_sdk.base.errors import CalibrationError


def made_here() -> tuple[np.ndarray, np.ndarray]:
    return np.ones((3, 2)), np.arange(3)


def _write_wav(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def test_a_csv_has_a_window_in_each_row_and_the_truth_in_y(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,y,b\n1,0,2.5\n3,1,4\n")

    x, y = read_arrays(tmp_path / "data.csv")

    assert x.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert y is not None
    assert y.tolist() == [0, 1]


def test_a_folder_of_wavs_has_its_classes_in_sub_folders(tmp_path: Path) -> None:
    _write_wav(tmp_path / "no" / "1.wav", np.zeros(16))
    _write_wav(tmp_path / "yes" / "1.wav", np.full(16, 16384))

    x, y = read_arrays(tmp_path)

    assert x.shape == (2, 16, 1)
    assert x[1].max() == 0.5
    assert y is not None
    assert y.tolist() == [0, 1]


def test_a_callable_gives_data() -> None:
    x, y = read_arrays("tests.converters.test_datafile:made_here")

    assert x.shape == (3, 2)
    assert y is not None


def test_a_npy_is_x_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3)))

    assert read_arrays(tmp_path / "x.npy")[1] is None


@pytest.mark.parametrize("text", ["", "a,b\n1\n", "a,b\n1,x\n", "a,b\n"])
def test_a_csv_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.csv").write_text(text)

    with pytest.raises(CalibrationError, match=r"data\.csv"):
        read_arrays(tmp_path / "data.csv")


def test_wavs_of_different_lengths_are_refused(tmp_path: Path) -> None:
    _write_wav(tmp_path / "1.wav", np.zeros(16))
    _write_wav(tmp_path / "2.wav", np.zeros(17))

    with pytest.raises(CalibrationError, match="one rate and length"):
        read_arrays(tmp_path)


@pytest.mark.parametrize("given", ["tests.converters.test_datafile:nothing", "no_such_module:function"])
def test_a_callable_that_is_not_there_is_refused(given: str) -> None:
    with pytest.raises(CalibrationError, match="cannot be called"):
        read_arrays(given)
