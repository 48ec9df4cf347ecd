from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_sdk.base.errors import BundleError, BundleFormatError, ConfigError, IntegrityError, TrustError
from edge_sdk.contract.bundle import Bundle, read_bundle
from edge_sdk.contract.trust import PublicKey, SigningKey, Trust
from tests.models import tiny_bundle


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.new()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.edge", key=key)


def test_a_bundle_is_read_as_it_was_written(signed: Bundle, key: SigningKey) -> None:
    opened = read_bundle(signed.path, Trust((key.public,)))

    assert opened.manifest == signed.manifest
    assert dict(opened.files) == dict(signed.files)
    assert opened.digest == signed.digest
    assert opened.signer == key.public


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, key: SigningKey) -> None:
    first, second = (tiny_bundle(tmp_path / name, key=key) for name in ("a.edge", "b.edge"))

    assert first.path.read_bytes() == second.path.read_bytes()


def test_a_directory_with_the_same_members_is_the_same_bundle(signed: Bundle, key: SigningKey, tmp_path: Path) -> None:
    with zipfile.ZipFile(signed.path) as archive:
        archive.extractall(tmp_path / "tiny")

    assert read_bundle(tmp_path / "tiny", Trust((key.public,))).digest == signed.digest


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_change_of_any_byte_is_refused(signed: Bundle, key: SigningKey, tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(signed.path.read_bytes())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    (tmp_path / "bad.edge").write_bytes(raw)

    with pytest.raises(BundleError):
        read_bundle(tmp_path / "bad.edge", Trust((key.public,)))
    with pytest.raises(BundleError):
        read_bundle(tmp_path / "bad.edge", Trust(allow_unsigned=True))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_truncated_bundle_says_so(signed: Bundle, key: SigningKey, tmp_path: Path, keep: float) -> None:
    raw = signed.path.read_bytes()
    (tmp_path / "short.edge").write_bytes(raw[: int(len(raw) * keep)])

    with pytest.raises(BundleFormatError, match=r"truncated, damaged or no bundle.*Copy it again"):
        read_bundle(tmp_path / "short.edge", Trust((key.public,)))


def test_an_unsigned_bundle_needs_leave(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny.edge")

    with pytest.raises(TrustError, match="not signed"):
        read_bundle(bundle.path, Trust())
    assert read_bundle(bundle.path, Trust(allow_unsigned=True)).signer is None


def test_a_strangers_signature_names_the_key(signed: Bundle, key: SigningKey) -> None:
    with pytest.raises(TrustError, match=key.public.key_id):
        read_bundle(signed.path, Trust((SigningKey.new().public,)))


def test_a_signature_cut_off_is_not_overlooked(signed: Bundle, key: SigningKey, tmp_path: Path) -> None:
    with zipfile.ZipFile(signed.path) as archive:
        archive.extractall(tmp_path / "tiny")
    (tmp_path / "tiny" / "signature.json").unlink()

    with pytest.raises(TrustError, match="not signed"):
        read_bundle(tmp_path / "tiny", Trust((key.public,)))


def test_a_member_exchanged_under_a_good_signature_is_refused(signed: Bundle, key: SigningKey, tmp_path: Path) -> None:
    with zipfile.ZipFile(signed.path) as archive:
        archive.extractall(tmp_path / "tiny")
    (tmp_path / "tiny" / "float32.tflite").write_bytes(b"other")

    with pytest.raises(IntegrityError, match=r"float32.tflite"):
        read_bundle(tmp_path / "tiny", Trust((key.public,)))


def test_a_member_that_nobody_signed_is_refused(signed: Bundle, key: SigningKey, tmp_path: Path) -> None:
    shutil.unpack_archive(signed.path, tmp_path / "tiny", "zip")
    (tmp_path / "tiny" / "extra.bin").write_bytes(b"extra")

    with pytest.raises(IntegrityError, match=r"extra.bin"):
        read_bundle(tmp_path / "tiny", Trust((key.public,)))


def test_a_variant_that_is_not_there_offers_what_is(signed: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no int8 tflite variant.*float32 tflite"):
        signed.variant(precision="int8", format="tflite")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "tiny.edge")
    before = sorted(tmp_path.iterdir())

    with pytest.raises(TypeError):
        tiny_bundle(tmp_path / "tiny.edge", labels=object())

    assert sorted(tmp_path.iterdir()) == before


def test_keys_survive_their_files_and_are_never_overwritten(tmp_path: Path) -> None:
    key = SigningKey.new()
    key.write(tmp_path / "k")

    assert SigningKey.read(tmp_path / "k").public == key.public
    assert PublicKey.read(tmp_path / "k.pub") == key.public
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="there already"):
        key.write(tmp_path / "k")


def test_a_signing_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    SigningKey.new().write(tmp_path / "k")
    (tmp_path / "k").chmod(0o644)

    with pytest.raises(ConfigError, match="chmod 600"):
        SigningKey.read(tmp_path / "k")


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:" + "A" * 43 + "B"])
def test_a_public_key_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no public key"):
        PublicKey.parse(text)
