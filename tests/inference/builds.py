"""Environments of their own with other runtimes: what cannot live beside the pinned ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from edge_sdk.contract.bundle import Bundle
from edge_sdk.inference.delegates import Delegate

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
import msgspec
import numpy as np
from edge_sdk import Model, Trust, Window
from edge_sdk.base.errors import BackendUnavailableError
from edge_sdk.inference.delegates import Delegate

path, runtime, cache, delegates = sys.argv[1:]
wanted = msgspec.json.decode(delegates, type=tuple[Delegate, ...])
try:
    model = Model.open(path, trust=Trust(allow_unsigned=True), runtime=runtime, delegates=wanted, cache=cache)
except BackendUnavailableError as error:
    print(json.dumps({"reason": error.reason.value, "cure": error.cure}))
else:
    window = Window("x", 0, 2, np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2))
    used, state = model.in_use(), model.predict(window).state.value
    shares = [part.share_of_operations for part in used.coverage]
    print(json.dumps({"state": state, "delegates": used.delegates, "shares": shares, "fallback": model.fallback}))
    model.close()
"""


class OtherBuild:
    """An environment with other packages, and this working tree.

    Args:
        directory: Where it is made.
        packages: What is in it besides what edge-sdk needs.
    """

    def __init__(self, directory: Path, *packages: str) -> None:
        self._python, self._cache = directory / "bin" / "python", directory / "cache"
        uv = str(Path(sys.executable).with_name("uv"))
        needed = ["anyio", "click", "cryptography", "msgspec", "numpy", "PyYAML", "rich", "paho-mqtt"]
        here = ["--quiet", "--python", str(self._python)]
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(directory)], check=True)
        subprocess.run([uv, "pip", "install", *here, *needed, *packages], check=True)
        subprocess.run([uv, "pip", "install", *here, "--no-deps", "--editable", str(ROOT)], check=True)

    def open(self, bundle: Bundle, runtime: str, *delegates: Delegate, **environment: str) -> Any:
        """Open a bundle there, predict once; what came of it."""
        wanted = msgspec.json.encode(delegates).decode()
        command = [str(self._python), "-c", PROGRAM, str(bundle.path), runtime, str(self._cache), wanted]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return json.loads(answer.stdout.splitlines()[-1])
