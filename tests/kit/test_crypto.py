"""What is sealed opens for the same key and place, and for nothing else."""

import os
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.kit.crypto import (
    HEADER_BYTES,
    SEALED_SEGMENT_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    BadMasterKey,
    FileOpener,
    FileSealer,
    Keyring,
    Tampered,
    UnknownMasterKey,
    sealed_offset,
)

TENANT = UUID(int=1)
KEYS = Keyring(b"k" * 32)


def seal_file(plain: bytes, *cuts: int, keys: Keyring = KEYS, tenant: UUID = TENANT, name: str = "a") -> bytes:
    sealer = FileSealer(keys, tenant_id=tenant, name=name)
    edges = [0, *sorted(min(cut, len(plain)) for cut in cuts), len(plain)]
    parts = [sealer.update(plain[begin:end]) for begin, end in pairwise(edges)]
    return b"".join([sealer.header, *parts, sealer.finish()])


def open_file(sealed: bytes, *, keys: Keyring = KEYS, tenant: UUID = TENANT, name: str = "a") -> bytes:
    opener = FileOpener(keys, sealed[:HEADER_BYTES], len(sealed), tenant_id=tenant, name=name)
    plain = b"".join(
        opener.open(number, sealed[sealed_offset(number) : sealed_offset(number + 1)])
        for number in range(opener.segments)
    )
    assert len(plain) == opener.size
    return plain


@given(st.binary(max_size=2000), st.text(max_size=20), st.none() | st.uuids(), st.binary(max_size=50))
def test_a_sealed_secret_opens_to_what_it_was(secret, purpose, tenant, aad):
    sealed = KEYS.seal(secret, purpose=purpose, tenant_id=tenant, aad=aad)
    assert len(sealed) == len(secret) + 33
    assert KEYS.open(sealed, purpose=purpose, tenant_id=tenant, aad=aad) == secret


def test_a_secret_opens_only_for_its_purpose_tenant_and_place():
    sealed = KEYS.seal(b"s", purpose="p", tenant_id=TENANT, aad=b"row 1")
    for other in (
        {"purpose": "q", "tenant_id": TENANT, "aad": b"row 1"},
        {"purpose": "p", "tenant_id": uuid4(), "aad": b"row 1"},
        {"purpose": "p", "tenant_id": None, "aad": b"row 1"},
        {"purpose": "p", "tenant_id": TENANT, "aad": b"row 2"},
    ):
        with pytest.raises(Tampered, match=other["purpose"]):
            KEYS.open(sealed, **other)


def test_every_bit_and_every_byte_of_a_sealed_secret_counts():
    sealed = KEYS.seal(b"secret", purpose="p", tenant_id=TENANT)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Tampered):
            KEYS.open(bytes(changed), purpose="p", tenant_id=TENANT)
    for length in range(len(sealed)):
        with pytest.raises(Tampered):
            KEYS.open(sealed[:length], purpose="p", tenant_id=TENANT)


def test_the_same_secret_is_sealed_differently_each_time():
    assert len({KEYS.seal(b"s", purpose="p", tenant_id=None) for _ in range(100)}) == 100


def test_after_a_rotation_the_new_key_seals_and_the_old_one_still_opens():
    old, new = os.urandom(32), os.urandom(32)
    before, both, after = Keyring(old), Keyring([new, old]), Keyring(new)
    early = before.seal(b"early", purpose="p", tenant_id=TENANT)
    late = both.seal(b"late", purpose="p", tenant_id=TENANT)
    assert both.open(early, purpose="p", tenant_id=TENANT) == b"early"
    assert after.open(late, purpose="p", tenant_id=TENANT) == b"late"
    assert open_file(seal_file(b"early", keys=before), keys=both) == b"early"
    with pytest.raises(UnknownMasterKey, match="FOLKMOOT_SECRET_KEY"):
        after.open(early, purpose="p", tenant_id=TENANT)
    assert both.derivations("tokens") == [after.derive("tokens"), before.derive("tokens")]


def test_derived_keys_differ_by_master_purpose_and_tenant_and_stay_the_same():
    derived = [
        keys.derive(purpose, tenant)
        for keys in (KEYS, Keyring(b"m" * 32))
        for purpose in ("", "a", "b", "ab")
        for tenant in (None, TENANT, UUID(int=0), UUID(bytes=b"\0" * 15 + b"a"))
    ]
    assert len(set(derived)) == len(derived)
    assert all(len(key) == 32 for key in derived)
    # The value is stored data's only way back: it must not change with a release.
    assert KEYS.derive("a", TENANT).hex() == "11e2aa546f368545cf4bb338c93d5cb7944f762d0fe49cdd85becebf89d816b8"
    assert KEYS.derive("a").hex() == "1416178f9fb679c65ca513542dd0568ac7a0211ea6c30365bcfd944be288f352"


def test_a_secret_and_a_file_that_an_earlier_release_sealed_still_open():
    assert (
        KEYS.open(
            bytes.fromhex("01a8c297a6cfe7fd2228bdb9d9ecc88b3c819000b26100769274966c15c75a1d78aacfd242378a"),
            purpose="p",
            tenant_id=TENANT,
        )
        == b"secret"
    )
    assert (
        open_file(
            bytes.fromhex(
                "012115ec9fbedaff01a8c297a68f414e6a6c905d67009cc52b739739c8b90acb3849e416612380210903b3a1aefc99d88cfbb45560820a04bc4f26159759e01b97a299cf0a7761c0d809926f45cd1748dc1df8c89961538d4326f923028d"
            )
        )
        == b"hello"
    )


@pytest.mark.parametrize("keys", [[], b"", b"short", b"x" * 33, [b"k" * 32, b"k" * 32], [b"k" * 32, b"k" * 31]])
def test_a_master_key_that_cannot_be_one_is_refused(keys):
    with pytest.raises(BadMasterKey):
        Keyring(keys)


def test_a_keyring_does_not_show_its_keys():
    assert "k" * 4 not in repr(KEYS)
    assert (b"k" * 32).hex() not in repr(KEYS)


edges = st.sampled_from([0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES, 200_000])
sizes = edges | st.integers(0, 4 * SEGMENT_BYTES)


@settings(deadline=None)
@given(sizes, st.lists(sizes, max_size=5))
def test_a_sealed_file_opens_to_what_it_was_however_it_came(size, cuts):
    plain = os.urandom(size)
    sealed = seal_file(plain, *cuts)
    assert len(sealed) == HEADER_BYTES + size + TAG_BYTES * max(1, -(-size // SEGMENT_BYTES))
    assert open_file(sealed) == plain


def test_every_bit_of_a_sealed_file_counts():
    sealed = seal_file(b"hello")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Tampered, match="'a'"):
            open_file(bytes(changed))


LONG = seal_file(bytes(3 * SEGMENT_BYTES + 100))


@settings(deadline=None)
@given(st.integers(0, len(LONG) * 8 - 1))
def test_a_flipped_bit_anywhere_in_a_long_file_is_found(bit):
    changed = bytearray(LONG)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Tampered):
        open_file(bytes(changed))


cuts = st.sampled_from([0, HEADER_BYTES - 1, *(sealed_offset(n) + d for n in range(4) for d in (0, 1, 15, 16, 17))])


@settings(deadline=None)
@given(cuts | st.integers(0, len(LONG) - 1))
def test_a_file_that_was_cut_anywhere_is_found(length):
    with pytest.raises(Tampered):
        open_file(LONG[:length])


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100) | st.just(LONG[-SEALED_SEGMENT_BYTES:]) | st.just(bytes(16)))
def test_a_file_that_something_was_added_to_is_found(more):
    with pytest.raises(Tampered):
        open_file(LONG + more)


@given(st.permutations(range(4)).filter(lambda order: order != [0, 1, 2, 3]))
@settings(deadline=None)
def test_segments_in_another_order_are_found(order):
    sealed = seal_file(bytes(4 * SEGMENT_BYTES))
    segments = [sealed[sealed_offset(n) : sealed_offset(n + 1)] for n in range(4)]
    with pytest.raises(Tampered):
        open_file(sealed[:HEADER_BYTES] + b"".join(segments[n] for n in order))


def test_a_segment_left_out_or_from_another_file_is_found():
    one, two = seal_file(bytes(4 * SEGMENT_BYTES)), seal_file(bytes(4 * SEGMENT_BYTES))
    with pytest.raises(Tampered):
        open_file(one[: sealed_offset(1)] + one[sealed_offset(2) :])
    with pytest.raises(Tampered):
        open_file(one[: sealed_offset(2)] + two[sealed_offset(2) :])
    with pytest.raises(Tampered):
        open_file(one[:HEADER_BYTES] + two[HEADER_BYTES:])


def test_a_file_opens_only_under_its_name_and_for_its_tenant():
    sealed = seal_file(b"x", name="a")
    with pytest.raises(Tampered, match="'b'"):
        open_file(sealed, name="b")
    with pytest.raises(Tampered):
        open_file(sealed, tenant=UUID(int=2))
    with pytest.raises(UnknownMasterKey):
        open_file(sealed, keys=Keyring(b"other" + b"k" * 27))


def test_a_segment_opens_without_those_before_it():
    plain = os.urandom(3 * SEGMENT_BYTES + 5)
    sealed = seal_file(plain)
    opener = FileOpener(KEYS, sealed[:HEADER_BYTES], len(sealed), tenant_id=TENANT, name="a")
    assert opener.open(2, sealed[sealed_offset(2) : sealed_offset(3)]) == plain[2 * SEGMENT_BYTES : 3 * SEGMENT_BYTES]
    with pytest.raises(Tampered):
        opener.open(1, sealed[sealed_offset(2) : sealed_offset(3)])
