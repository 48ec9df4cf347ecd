"""Changes on disk: whatever happens in between, there is the old or the new."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.station.remote.slots import BAD_STARTS, Change, Replacement, Slots, merged

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
PATCH = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)
WORK = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from edge_sdk.station.remote.slots import Change, Replacement, Slots
slots = Slots(Path(sys.argv[1]))
incoming = Path(sys.argv[1]) / "incoming.part"
incoming.write_bytes(b"the new bundle")
bundle = Replacement(file=slots.keep(incoming, "sha256:new"), digest="sha256:new", replaces="sha256:base")
slots.propose(Change(by="new", made=datetime.now(timezone.utc), base="base", bundles={"light.edge": bundle}))
slots.commit()
"""


def change(by: str, file: str = "") -> Change:
    bundles = {"light.edge": Replacement(file=file, digest=f"sha256:{by}", replaces="sha256:base")} if file else {}
    return Change(by=by, made=NOW, base="base", patches=({"health_every_s": 5},), bundles=bundles)


def kept(directory: Path, name: str) -> Slots:
    """Slots with a change in use whose bundle is there."""
    slots = Slots(directory)
    incoming = directory / "incoming.part"
    directory.mkdir(parents=True, exist_ok=True)
    incoming.write_bytes(name.encode())
    slots.propose(change(name, slots.keep(incoming, f"sha256:{name}")))
    slots.commit()
    return slots


def whole(slots: Slots) -> bool:
    """Whether every bundle that a slot names is there."""
    changes = [one for one in (slots.present, slots.following, slots.previous) if one is not None]
    return all(slots.bundle(each).exists() for one in changes for each in one.bundles.values())


def test_a_change_is_tried_and_kept(tmp_path: Path) -> None:
    slots = Slots(tmp_path)

    slots.propose(change("one"))
    assert (slots.present, slots.following) == (None, change("one"))
    slots.commit()

    assert (slots.present, slots.following, slots.previous) == (change("one"), None, None)


def test_a_change_is_tried_and_taken_back(tmp_path: Path) -> None:
    slots = kept(tmp_path, "old")

    slots.propose(change("new"))
    slots.withdraw()

    assert slots.present is not None
    assert (slots.present.by, slots.following) == ("old", None)
    assert whole(slots)


def test_bundles_that_no_slot_names_are_removed(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        slots = kept(tmp_path, name)

    assert {file.stem for file in (tmp_path / "bundles").iterdir()} == {"second", "third"}
    slots.revert()
    assert slots.present is not None
    assert slots.present.by == "second"
    assert {file.stem for file in (tmp_path / "bundles").iterdir()} == {"second"}


def test_three_starts_that_do_not_end_well_take_a_change_back(tmp_path: Path) -> None:
    slots = kept(tmp_path, "old")
    slots.propose(change("new"))

    said = [list(slots.begin(bad_starts=0)) for _ in range(BAD_STARTS + 1)]

    assert said[:-1] == [[]] * BAD_STARTS
    assert "was taken back" in said[-1][0]
    assert slots.following is None
    assert slots.present is not None
    assert slots.present.by == "old"


def test_three_bad_starts_take_back_what_was_kept_too_early(tmp_path: Path) -> None:
    kept(tmp_path, "old")
    slots = kept(tmp_path, "new")

    assert list(slots.begin(bad_starts=2)) == []
    [said] = slots.begin(bad_starts=3)
    assert "started badly 3 times" in said
    assert slots.present is not None
    assert slots.present.by == "old"
    assert list(slots.begin(bad_starts=3)) == []  # what was before is not known any more


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
@pytest.mark.parametrize("call", ["fsync", "rename", "unlink", "openat"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, call: str) -> None:
    """The process dies in the n-th call of a kind, for every n until it comes through."""
    strace = ["strace", "-qq", "-o", "/dev/null"]
    for number in range(1, 40):
        directory = tmp_path / f"{call}-{number}"
        kept(directory, "old")
        calls = {"rename": "rename,renameat,renameat2", "unlink": "unlink,unlinkat"}.get(call, call)
        inject = f"inject={calls}:signal=KILL:when={number}"
        path = [f"--trace-path={directory}", f"--trace-path={directory}/bundles"] if call == "openat" else []
        done = subprocess.run(
            [*strace, *path, "-e", f"trace={calls}", "-e", inject, sys.executable, "-c", WORK, str(directory)],
            capture_output=True,
        )
        slots = Slots(directory)
        assert whole(slots), number
        assert slots.present is not None
        assert slots.present.by in {"old", "new"}
        assert slots.following is None or (slots.following.by, slots.present.by) == ("new", "old")
        if done.returncode == 0:
            assert slots.present.by == "new"
            return
        assert done.returncode in {-9, 137}, done.stderr
    raise AssertionError("it never came through")


@given(JSON, PATCH)
def test_a_merge_patch_is_that_of_rfc_7396(data: Any, patch: dict[str, Any]) -> None:
    """The algorithm of the RFC, written out."""

    def by_the_book(target: Any, patch: Any) -> Any:
        if not isinstance(patch, dict):
            return patch
        target = dict(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            if value is None:
                if name in target:
                    del target[name]
            else:
                target[name] = by_the_book(target.get(name), value)
        return target

    assert merged(data, patch) == by_the_book(data, patch)
