from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from edge_sdk.runtime.budget import Budget


def test_never_more_threads_run_than_there_are_cores() -> None:
    budget, lock = Budget(3), threading.Lock()
    running, most = 0, 0

    def work(threads: int) -> None:
        nonlocal running, most
        for _ in range(50):
            with budget.hold(threads):
                with lock:
                    running += min(threads, 3)
                    most = max(most, running)
                with lock:
                    running -= min(threads, 3)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [1, 1, 2, 3, 9, 1]))

    assert 0 < most <= 3


def test_who_has_the_higher_priority_goes_first() -> None:
    budget, order = Budget(1), list[str]()

    def work(name: str, priority: int) -> None:
        with budget.hold(1, priority=priority):
            order.append(name)

    with ThreadPoolExecutor(3) as pool:
        with budget.hold(1):
            asked = []
            for name, priority in (("low", -1), ("middle", 0), ("high", 1)):
                asked.append(pool.submit(work, name, priority))
                while budget.waiting < len(asked):
                    pass
        for one in asked:
            one.result(10)

    assert order == ["high", "middle", "low"]
