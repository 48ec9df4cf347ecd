"""The artifact: a trained model as it lies on the disk, of which kind, and its digest."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_sdk.base.errors import ConversionError

Kind = Literal["keras", "saved_model", "tflite", "onnx", "sklearn", "torch"]
_ONNX_MAGIC = b"\x08"  # field 1, ir_version, of ModelProto


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file or folder.

    Attributes:
        path: Where it lies.
        kind: ``keras`` (Keras 3 ``.keras``, or ``.h5``), ``saved_model``, ``tflite``, ``onnx``, ``torch`` (a ``.pt2``
            of torch.export) or ``sklearn`` (a pickled estimator: loading it runs what is in it, so load none that you
            did not make).
        digest: ``sha256:…`` of the file, or of every file of the folder in order of their names.
    """

    path: Path
    kind: Kind
    digest: str

    @classmethod
    def of(cls, path: Path | str) -> Artifact:
        """Recognise a model by its content, not by its name.

        Raises:
            ConversionError: Not there, or of no kind that is known.
        """
        path = Path(path)
        if path.is_dir():
            if not (path / "saved_model.pb").is_file():
                raise ConversionError(f"{path} is a folder without saved_model.pb: no SavedModel. {_WANTED}")
            return cls(path, "saved_model", _folder_digest(path))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConversionError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
        return cls(path, _kind(path, content), "sha256:" + hashlib.sha256(content).hexdigest())

    @property
    def name(self) -> str:
        """The file's name as an id: what other characters it has become ``_``."""
        stem = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in self.path.stem)
        return stem[:64] or "model"


_WANTED = (
    "Wanted is a Keras file (.keras, .h5), a SavedModel folder, a float .tflite, an ONNX file, "
    "a PyTorch .pt2, or a scikit-learn .joblib."
)


def _kind(path: Path, content: bytes) -> Kind:
    if content[4:8] == b"TFL3":
        return "tflite"
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras"
    if content.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if "config.json" in names:
            return "keras"
        if path.suffix == ".pt2":
            return "torch"
        raise ConversionError(f"{path} is a zip file, and no Keras model: it has no config.json. {_WANTED}")
    if content.startswith(_ONNX_MAGIC) and path.suffix == ".onnx":
        return "onnx"
    if path.suffix in {".joblib", ".pkl", ".pickle"}:
        return "sklearn"
    raise ConversionError(f"{path} ({len(content)} bytes) is no model that is known here. {_WANTED}")


def _folder_digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return "sha256:" + digest.hexdigest()
