"""The cache: what a stage made, kept by the content of all that it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

LIMIT_BYTES = 1024 * 1024 * 1024
_INDEX = "index.json"
_LIBRARIES = (
    "ai-edge-litert", "ai-edge-quantizer", "edge-sdk", "keras", "numpy", "onnx", "onnxruntime", "onnxslim",
    "scikit-learn", "skl2onnx", "tensorflow", "tf2onnx", "torch",
)  # fmt: skip
_GROUPS = ("converters.loaders", "converters.quantizers", "edge_sdk.backends")
_HERE = Path(__file__).parent


class Cache:
    """Folders of files, one for each key, in the user's cache directory; the oldest go when there are too many.

    What cannot be kept is not kept, without a word: a conversion without its cache is a slower one, not a wrong one.

    Args:
        folder: Where; it is made when something is kept.
        limit_bytes: Of everything together.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes

    @classmethod
    def of_user(cls) -> Cache:
        """The one under ``$XDG_CACHE_HOME``."""
        return cls(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-sdk" / "stages")

    def get(self, key: str, into: Path) -> bool:
        """Copy what was kept under `key` into a folder; whether there was anything, whole and unchanged."""
        kept = self.folder / key
        try:
            index: dict[str, str] = json.loads((kept / _INDEX).read_bytes())
            contents = {name: (kept / name).read_bytes() for name in index}
        except (OSError, ValueError):
            return False
        if any(hashlib.sha256(contents[name]).hexdigest() != digest for name, digest in index.items()):
            shutil.rmtree(kept, ignore_errors=True)
            return False
        for name, content in contents.items():
            (into / name).write_bytes(content)
        os.utime(kept)
        return True

    def put(self, key: str, files: Iterable[Path]) -> None:
        """Keep copies of files under `key`, all or none."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-") as name:
                made = Path(name) / "made"
                made.mkdir()
                index = {}
                for file in files:
                    content = file.read_bytes()
                    index[file.name] = hashlib.sha256(content).hexdigest()
                    (made / file.name).write_bytes(content)
                (made / _INDEX).write_text(json.dumps(index, sort_keys=True), encoding="utf-8")
                made.rename(self.folder / key)
            self._make_room()
        except OSError:
            return  # no space, no permission, or another process was first

    def _make_room(self) -> None:
        kept = [(entry.stat().st_mtime, entry) for entry in self.folder.iterdir() if entry.is_dir()]
        sizes = {entry: sum(file.stat().st_size for file in entry.rglob("*") if file.is_file()) for _, entry in kept}
        total = sum(sizes.values())
        for _, entry in sorted(kept):
            if total <= self.limit_bytes:
                return
            total -= sizes[entry]
            shutil.rmtree(entry, ignore_errors=True)


def key_of(what: bytes, files: Iterable[Path]) -> str:
    """A key: of what is to be done, the files that it is done with, and the code and libraries that do it."""
    digest = hashlib.sha256(_workshop() + hashlib.sha256(what).digest())
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _workshop() -> bytes:
    """The code and the libraries, as a digest."""
    digest = hashlib.sha256(f"{platform.python_version()} {platform.machine()}".encode())
    for name in _LIBRARIES:
        try:
            digest.update(f"{name} {version(name)}\0".encode())
        except PackageNotFoundError:
            continue
    for group in _GROUPS:
        for point in sorted(entry_points(group=group), key=lambda point: point.name):
            digest.update(f"{group} {point.name} {point.value} {point.dist.version if point.dist else ''}\0".encode())
    for folder in (_HERE, _HERE.parent / "edge_sdk" / "inference", _HERE.parent / "edge_sdk" / "contract"):
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.json")]):
            digest.update(file.read_bytes())
    return digest.digest()
