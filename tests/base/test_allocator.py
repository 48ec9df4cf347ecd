"""All threads share one heap."""

from __future__ import annotations

import subprocess
import sys

THREADS = """
import ctypes, threading
from edge_sdk.base.allocator import share_one_heap

libc = ctypes.CDLL(None)
print(hasattr(libc, "mallopt"), share_one_heap(), flush=True)
meet = threading.Barrier(4)

def work():
    held = [bytes(5000) for _ in range(100)]
    meet.wait()
    assert held

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if hasattr(libc, "malloc_stats"):
    libc.malloc_stats()  # to standard error, arena by arena
"""


def test_threads_that_begin_later_take_memory_from_the_one_heap() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)

    has_arenas, shared = done.stdout.split()
    assert has_arenas == shared
    assert done.stderr.count("Arena ") == (shared == "True")
