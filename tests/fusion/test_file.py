from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_sdk.base.errors import BundleError, BundleFormatError, IntegrityError, TrustError
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.fusion.chain import Conformal, Smoothing
from edge_sdk.fusion.file import FusionSpec, read_fusion, write_fusion

SPEC = FusionSpec(
    task="classification",
    labels=("0", "1"),
    contributors={"a": "sha256:0", "b": ""},
    method="staged_pool",
    options={"groups": [[0], [1]], "weights": {"a": 0.5}},
    temperatures={"a": 1.5},
    smoothing=Smoothing(dwell_s=60.0),
    conformal=Conformal(threshold=0.2),
)


def test_what_was_written_is_read_and_opens(tmp_path: Path) -> None:
    key = SigningKey.new()
    write_fusion(tmp_path / "room.fusion", SPEC, key=key)
    spec = read_fusion(tmp_path / "room.fusion", Trust((key.public,)))
    assert spec == SPEC
    assert spec.open().name == "staged_pool"


def test_any_changed_byte_is_refused(tmp_path: Path) -> None:
    key, path = SigningKey.new(), tmp_path / "room.fusion"
    write_fusion(path, SPEC, key=key)
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with pytest.raises(BundleError):
            read_fusion(path, Trust((key.public,)))


def test_unsigned_wants_an_explicit_word(tmp_path: Path) -> None:
    write_fusion(tmp_path / "room.fusion", SPEC, key=None)
    with pytest.raises(TrustError, match="not signed"):
        read_fusion(tmp_path / "room.fusion", Trust())
    assert read_fusion(tmp_path / "room.fusion", Trust(allow_unsigned=True)) == SPEC


def test_a_stranger_s_signature_does_not_count(tmp_path: Path) -> None:
    write_fusion(tmp_path / "room.fusion", SPEC, key=SigningKey.new())
    with pytest.raises(TrustError, match="trusted are"):
        read_fusion(tmp_path / "room.fusion", Trust((SigningKey.new().public,)))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"fusion": {}}', b'{"fusion": {"format": 2}}'])
def test_what_is_no_fusion_file_is_an_error(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "room.fusion").write_bytes(raw)
    with pytest.raises(BundleFormatError):
        read_fusion(tmp_path / "room.fusion", Trust(allow_unsigned=True))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleFormatError, match="cannot be read"):
        read_fusion(tmp_path / "none.fusion", Trust(allow_unsigned=True))


def test_writing_replaces_in_whole(tmp_path: Path) -> None:
    path = tmp_path / "room.fusion"
    write_fusion(path, SPEC, key=None)
    write_fusion(path, msgspec.structs.replace(SPEC, method="vote", options={}), key=None)
    assert read_fusion(path, Trust(allow_unsigned=True)).method == "vote"
    assert [one.name for one in tmp_path.iterdir()] == ["room.fusion"]


def test_a_signature_of_another_file_is_refused(tmp_path: Path) -> None:
    key = SigningKey.new()
    write_fusion(tmp_path / "a.fusion", SPEC, key=key)
    write_fusion(tmp_path / "b.fusion", msgspec.structs.replace(SPEC, unit="m"), key=key)
    a, b = (msgspec.json.decode((tmp_path / name).read_bytes()) for name in ("a.fusion", "b.fusion"))
    (tmp_path / "c.fusion").write_bytes(msgspec.json.encode({"fusion": a["fusion"], "signature": b["signature"]}))
    with pytest.raises(IntegrityError):
        read_fusion(tmp_path / "c.fusion", Trust((key.public,)))
