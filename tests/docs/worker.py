"""A Python process that runs the blocks of one page, one after the other, in one namespace.

Reads JSON lines ``{"code", "name"}``; answers each with ``{"output", "error"}``.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import os
import sys
import traceback
from typing import Any


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints by itself must not mix with the answers
    sys.path.insert(0, "")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        job = json.loads(line)
        code, name = job["code"], job["name"]
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        output, error = io.StringIO(), ""
        try:
            with contextlib.redirect_stdout(output):
                exec(compile(code, name, "exec"), namespace)
        except BaseException:  # noqa: BLE001 (whatever a page raises is told to the test)
            error = traceback.format_exc()
        answers.write(json.dumps({"output": output.getvalue(), "error": error}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
