"""A delegate in service: it computes, computes wrongly, fails, crashes, hangs; no window is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.base.errors import BackendUnavailableError, UnavailableReason, WrongAnswerError
from edge_sdk.contract.bundle import Bundle
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.inference.delegates import Delegate
from edge_sdk.inference.model import Model
from edge_sdk.inference.standby import DelegateState, Standby
from tests.models import expected, tiny_bundle, weights, window

RIGHT = expected(window().samples, weights())
FORGIVING_S = 60.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.edge")


@pytest.fixture
def opened(bundle: Bundle, delegate_library: str) -> Iterator[Opener]:
    opener = Opener(bundle, delegate_library)
    yield opener
    for model in opener.models:
        model.close()


class Opener:
    """Opens models on the test's delegate and closes them in the end."""

    def __init__(self, bundle: Bundle, library: str) -> None:
        self.bundle, self.library = bundle, library
        self.models: list[Model] = []

    def __call__(self, mode: str, *, fallback_cpu: bool = False, timeout_s: float = 1.0, **options: str | int) -> Model:
        delegate = Delegate(name="coral", library=self.library, options={"mode": mode, **options}, timeout_s=timeout_s)
        model = Model.open(self.bundle, runtime="litert", delegates=[delegate], fallback_cpu=fallback_cpu)
        self.models.append(model)
        return model


def standby(model: Model) -> Standby:
    assert isinstance(model.backend, Standby)
    return model.backend


def is_right(prediction: Prediction) -> bool:
    assert prediction.state is ContributorState.FRESH, prediction.reason
    assert prediction.probabilities is not None
    np.testing.assert_allclose(prediction.probabilities, RIGHT, atol=1e-5)
    return True


def until_back(model: Model) -> int:
    """Predict until the delegate answers again; how many windows that took, all of them right."""
    deadline = time.monotonic() + FORGIVING_S
    windows = 0
    while standby(model).state is not DelegateState.WORKING:
        assert time.monotonic() < deadline, model.fallback
        assert is_right(model.predict(window()))
        windows += 1
        time.sleep(0.01)
    return windows


def test_a_delegate_that_computes_is_in_use_with_the_share_it_took(opened: Opener) -> None:
    model = opened("right")

    assert is_right(model.predict(window()))
    used = model.in_use()
    assert (used.delegates, used.fallback) == (("coral", "xnnpack"), "")
    assert [part.share_of_operations for part in used.coverage] == [0.5, 0.5]


def test_a_delegate_that_computes_wrongly_is_refused(opened: Opener) -> None:
    with pytest.raises(WrongAnswerError, match=r"litert with coral answers float32\.tflite wrongly"):
        opened("wrong")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("refuse", UnavailableReason.NO_DEVICE),
        ("fail_prepare", UnavailableReason.REFUSED_MODEL),
        ("crash", UnavailableReason.CRASHED),
    ],
)
def test_a_delegate_that_does_not_open_is_an_error_with_its_reason(
    opened: Opener, mode: str, reason: UnavailableReason
) -> None:
    with pytest.raises(BackendUnavailableError) as raised:
        opened(mode)
    assert raised.value.reason is reason


def test_a_delegate_that_hangs_while_opening_is_given_up(bundle: Bundle, delegate_library: str) -> None:
    hangs = Delegate(library=delegate_library, options={"mode": "hang"}, open_timeout_s=3.0)

    with pytest.raises(BackendUnavailableError, match="in time") as raised:
        Model.open(bundle, runtime="litert", delegates=[hangs])
    assert raised.value.reason is UnavailableReason.NO_ANSWER


@pytest.mark.parametrize("mode", ["refuse", "fail_prepare", "wrong"])
def test_with_fallback_the_cpu_answers_and_says_why(opened: Opener, mode: str) -> None:
    model = opened(mode, fallback_cpu=True)

    assert is_right(model.predict(window()))
    assert model.in_use().delegates == ("xnnpack",)
    assert model.in_use().fallback.startswith("coral: ")


@pytest.mark.parametrize("mode", ["fail", "crash", "nan"])
def test_a_delegate_that_fails_at_the_thousandth_call_loses_no_window_and_comes_back(
    opened: Opener, tmp_path: Path, mode: str
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    model = opened(mode, at=1000, broken=str(broken))  # the recorded inputs were the first two calls
    for _ in range(997):
        assert is_right(model.predict(window()))
    assert model.fallback == ""

    begun = time.monotonic()
    for _ in range(10):
        assert is_right(model.predict(window()))
    assert time.monotonic() - begun < 2.0

    assert "coral" in model.fallback
    assert model.in_use().delegates == ("xnnpack",)
    assert standby(model).counters["delegate.lost"] == 1
    broken.unlink()
    assert until_back(model) >= 0
    assert (model.fallback, model.in_use().delegates) == ("", ("coral", "xnnpack"))
    assert standby(model).counters["delegate.returned"] == 1


def test_a_delegate_that_hangs_is_replaced_within_two_seconds(opened: Opener, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    model = opened("hang", at=4, broken=str(broken))
    assert is_right(model.predict(window()))

    begun = time.monotonic()
    assert is_right(model.predict(window()))
    assert time.monotonic() - begun < 2.0

    assert "did not answer within 1 s" in model.fallback
    broken.unlink()
    until_back(model)


def test_a_delegate_that_comes_back_wrong_is_not_taken_back(opened: Opener, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    model = opened("wrong", broken=str(broken))  # right as long as the file is not there
    broken.touch()
    os.kill(standby(model)._worker._process.pid, signal.SIGKILL)

    deadline = time.monotonic() + FORGIVING_S
    while "wrongly" not in model.fallback:
        assert time.monotonic() < deadline, model.fallback
        assert is_right(model.predict(window()))
        time.sleep(0.01)

    broken.unlink()
    until_back(model)


def test_models_on_one_delegate_share_its_process_and_each_comes_back(opened: Opener) -> None:
    first, second = opened("right"), opened("right")
    assert standby(first)._worker is standby(second)._worker

    os.kill(standby(first)._worker._process.pid, signal.SIGKILL)

    for model in (first, second):
        assert is_right(model.predict(window()))
        assert model.fallback
    for model in (first, second):
        until_back(model)


def test_the_last_model_that_closes_ends_the_process(opened: Opener) -> None:
    first, second = opened("right"), opened("right")
    worker = standby(first)._worker

    first.close()
    assert is_right(second.predict(window()))
    second.close()

    assert not worker.is_alive
    assert worker._process.poll() == 0


def test_a_hanging_process_ends_with_the_station(bundle: Bundle, delegate_library: str, tmp_path: Path) -> None:
    program = f"""
import sys
from edge_sdk import Model, Trust
from edge_sdk.inference.delegates import Delegate
from tests.models import window
hangs = Delegate(library={delegate_library!r}, options={{"mode": "hang", "at": 3}}, timeout_s=60.0)
model = Model.open({str(bundle.path)!r}, trust=Trust(allow_unsigned=True), runtime="litert", delegates=[hangs])
print(model.backend._worker._process.pid, flush=True)
model.predict(window())
"""
    station = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert station.stdout is not None
    host = int(station.stdout.readline())
    station.kill()
    station.communicate()

    deadline = time.monotonic() + FORGIVING_S
    while is_running(host):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
