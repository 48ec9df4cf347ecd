from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from converters.datafile import read_arrays
from edge_sdk.base.errors import CalibrationError


def made_here() -> tuple[np.ndarray, np.ndarray]:
    return np.ones((3, 2)), np.arange(3)


def breaks() -> np.ndarray:
    raise KeyError("no such column")


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


def test_a_parquet_has_a_window_in_each_row_as_a_list_or_as_columns(tmp_path: Path) -> None:
    windows = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]
    parquet.write_table(pa.table({"x": windows, "y": [1, 0]}), tmp_path / "lists.parquet")
    parquet.write_table(pa.table({"a": [1, 2], "y": [1, 0], "b": [0.5, 1.5]}), tmp_path / "columns.parquet")

    x, y = read_arrays(tmp_path / "lists.parquet")
    assert x.tolist() == windows
    assert y is not None
    assert y.tolist() == [1, 0]
    assert read_arrays(tmp_path / "columns.parquet")[0].tolist() == [[1.0, 0.5], [2.0, 1.5]]


@pytest.mark.parametrize("columns", [{"a": ["text"]}, {"x": [[1.0], [1.0, 2.0]]}, {"y": [1]}])
def test_a_parquet_without_numbers_is_refused(tmp_path: Path, columns: dict[str, list[object]]) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "data.parquet")

    with pytest.raises(CalibrationError, match=r"data\.parquet has columns"):
        read_arrays(tmp_path / "data.parquet")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"no")

    with pytest.raises(CalibrationError, match=r"data\.parquet cannot be read as Parquet"):
        read_arrays(tmp_path / "data.parquet")


def test_a_folder_of_images_has_its_classes_in_sub_folders(tmp_path: Path) -> None:
    for name, value in (("dark", 0), ("light", 255)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((4, 6), value, np.uint8)).save(tmp_path / name / "1.png")

    x, y = read_arrays(tmp_path)

    assert x.shape == (2, 4, 6, 1)
    assert (x[0].max(), x[1].min()) == (0, 255)
    assert y is not None
    assert y.tolist() == [0, 1]


def test_one_coloured_image_gives_all_of_them_three_channels(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "1.png")
    Image.fromarray(np.zeros((4, 6, 4), np.uint8)).save(tmp_path / "2.png")

    x, y = read_arrays(tmp_path)

    assert x.shape == (2, 4, 6, 3)
    assert y is None


def test_images_of_different_sizes_are_refused_with_both(tmp_path: Path) -> None:
    for size in (4, 5):
        Image.fromarray(np.zeros((size, size), np.uint8)).save(tmp_path / f"{size}.png")

    with pytest.raises(CalibrationError, match=r"4 x 4 \(4\.png\), 5 x 5 \(5\.png\)"):
        read_arrays(tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.png": b"no image"}, "image cannot be read"),
        ({"a.txt": b""}, "neither WAV files nor images"),
        ({"a.png": b"", "b.wav": b""}, "holds WAV files and images"),
        ({"a.wav": b"RIFF"}, "is no WAV file"),
    ],
)
def test_a_folder_that_holds_no_data_is_refused(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    with pytest.raises(CalibrationError, match=words):
        read_arrays(tmp_path)


def test_a_callable_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_data.py").write_text("import numpy as np\ndef load():\n    return np.ones((2, 3)), [0, 1]\n")
    monkeypatch.chdir(tmp_path)

    x, y = read_arrays("my_own_data:load")

    assert x.shape == (2, 3)
    assert y is not None


def test_what_a_callable_raises_is_told() -> None:
    with pytest.raises(CalibrationError, match="KeyError: 'no such column'"):
        read_arrays("tests.converters.test_datafile:breaks")


@pytest.mark.parametrize("given", ["tests.converters.test_datafile:nothing", "no_such_module:function"])
def test_a_callable_that_is_not_there_is_refused(given: str) -> None:
    with pytest.raises(CalibrationError, match="cannot be called"):
        read_arrays(given)
