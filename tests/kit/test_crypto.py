"""What is sealed opens for the same key and place, and for nothing else."""

import os
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.kit.crypto import (
    HEADER_BYTES,
    PLATFORM,
    SEALED_SEGMENT_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    BadMasterKey,
    FileOpener,
    FileSealer,
    Keys,
    MasterKeys,
    Roots,
    Tampered,
    UnknownKeyVersion,
    UnknownMasterKey,
    resealed_header,
    sealed_offset,
    wrapped_under,
)
from tests.support import old_form

TENANT = UUID(int=1)
MASTER = b"k" * 32
MASTERS = MasterKeys(MASTER)


def keys_of(tenant: UUID = TENANT, *versions: bytes, masters: MasterKeys = MASTERS) -> Keys:
    found = dict(enumerate(versions or [b"d" * 32], 1))
    return Keys(tenant, found, max(found), masters)


KEYS = keys_of()


def seal_file(plain: bytes, *cuts: int, keys: Keys = KEYS, name: str = "a") -> bytes:
    sealer = FileSealer(keys, name=name)
    edges = [0, *sorted(min(cut, len(plain)) for cut in cuts), len(plain)]
    parts = [sealer.update(plain[begin:end]) for begin, end in pairwise(edges)]
    return b"".join([sealer.header, *parts, sealer.finish()])


def open_file(sealed: bytes, *, keys: Keys = KEYS, name: str = "a") -> bytes:
    opener = FileOpener(keys, sealed[:HEADER_BYTES], len(sealed), name=name)
    plain = b"".join(
        opener.open(number, sealed[sealed_offset(number) : sealed_offset(number + 1)])
        for number in range(opener.segments)
    )
    assert len(plain) == opener.size
    return plain


@given(st.binary(max_size=2000), st.text(max_size=20), st.uuids(), st.binary(max_size=50))
def test_a_sealed_secret_opens_to_what_it_was(secret, purpose, tenant, aad):
    keys = keys_of(tenant)
    sealed = keys.seal(secret, purpose=purpose, aad=aad)
    assert len(sealed) == len(secret) + 33
    assert keys.open(sealed, purpose=purpose, aad=aad) == secret


def test_a_secret_opens_only_for_its_purpose_tenant_and_place():
    sealed = KEYS.seal(b"s", purpose="p", aad=b"row 1")
    for keys, purpose, aad in (
        (KEYS, "q", b"row 1"),
        (keys_of(uuid4()), "p", b"row 1"),
        (keys_of(PLATFORM), "p", b"row 1"),
        (keys_of(TENANT, b"e" * 32), "p", b"row 1"),
        (KEYS, "p", b"row 2"),
    ):
        with pytest.raises(Tampered, match=purpose):
            keys.open(sealed, purpose=purpose, aad=aad)


def test_every_bit_and_every_byte_of_a_sealed_secret_counts():
    sealed = KEYS.seal(b"secret", purpose="p")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Tampered):
            KEYS.open(bytes(changed), purpose="p")
    for length in range(len(sealed)):
        with pytest.raises(Tampered):
            KEYS.open(sealed[:length], purpose="p")


def test_the_same_secret_is_sealed_differently_each_time():
    assert len({KEYS.seal(b"s", purpose="p") for _ in range(100)}) == 100


def test_the_newest_data_key_seals_and_the_older_one_still_opens():
    before, both = keys_of(TENANT, b"1" * 32), keys_of(TENANT, b"1" * 32, b"2" * 32)
    early, late = before.seal(b"early", purpose="p"), both.seal(b"late", purpose="p")
    assert both.open(early, purpose="p") == b"early"
    assert late.startswith(both.head)
    assert not early.startswith(both.head)
    with pytest.raises(UnknownKeyVersion, match=r"'p' .* version 2"):
        before.open(late, purpose="p")


def test_a_data_key_opens_under_its_master_key_for_its_tenant_purpose_and_version():
    old, new = os.urandom(32), os.urandom(32)
    place = {"tenant_id": TENANT, "purpose": "seal", "version": 1}
    wrapped = MasterKeys(old).wrap(b"d" * 32, **place)
    assert b"d" * 8 not in wrapped
    assert wrapped_under(wrapped) == MasterKeys(old).ids[0]
    assert MasterKeys([new, old]).unwrap(wrapped, **place) == b"d" * 32
    for other in ({"tenant_id": uuid4()}, {"purpose": "derive"}, {"version": 2}):
        with pytest.raises(Tampered, match=r"the key \w+ \d of the tenant"):
            MasterKeys(old).unwrap(wrapped, **place | other)
    for bit in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Tampered):
            MasterKeys(old).unwrap(bytes(changed), **place)
    for length in range(len(wrapped)):
        with pytest.raises(Tampered):
            MasterKeys(old).unwrap(wrapped[:length], **place)


def test_a_key_whose_master_key_is_gone_says_which_one_it_needs():
    old = MasterKeys(b"o" * 32)
    wrapped = old.wrap(b"d" * 32, tenant_id=TENANT, purpose="seal", version=1)
    with pytest.raises(UnknownMasterKey, match=f"{old.ids[0].hex()}.*FOLKMOOT_SECRET_KEY"):
        MASTERS.unwrap(wrapped, tenant_id=TENANT, purpose="seal", version=1)


def test_the_first_master_key_wraps_unless_another_is_asked_for():
    masters = MasterKeys([b"n" * 32, b"o" * 32])
    place = {"tenant_id": TENANT, "purpose": "seal", "version": 1}
    assert wrapped_under(masters.wrap(b"d" * 32, **place)) == masters.ids[0]
    assert wrapped_under(masters.wrap(b"d" * 32, **place, under=masters.ids[1])) == masters.ids[1]
    with pytest.raises(UnknownMasterKey):
        masters.wrap(b"d" * 32, **place, under=b"none")


def test_derived_keys_differ_by_root_purpose_and_tenant_and_stay_the_same():
    one, other = Roots([b"r" * 32], {}, None), Roots([b"s" * 32], {}, None)
    derived = [
        roots.derive(purpose, tenant)
        for roots in (one, other)
        for purpose in ("", "a", "b", "ab")
        for tenant in (None, TENANT, UUID(int=0), UUID(bytes=b"\0" * 15 + b"a"))
    ]
    assert len(set(derived)) == len(derived)
    assert all(len(key) == 32 for key in derived)
    # What was signed is checked with these for ever: they must not change with a release.
    assert one.derive("a", TENANT).hex() == "99bf719fb551cb01f91fe35b85740216090f739843e4a4d693de7ad445d34f22"
    assert one.derive("a").hex() == "cc618ebee937e9e47bc9c1cf3a2c849abd9decfd9cfebda6534951011e6c901f"


def test_what_was_derived_before_comes_after_what_is_derived_now():
    was, legacy = Roots([b"o" * 32], {}, None), MasterKeys([b"m" * 32, b"l" * 32])
    now = Roots([b"n" * 32, b"o" * 32], {}, None)
    assert now.derivations("p", TENANT) == [now.derive("p", TENANT), was.derive("p", TENANT)]
    kept = Roots([b"n" * 32], {"p": [was.derive("p")], f"p:{TENANT}": [b"x" * 32]}, legacy)
    assert kept.derivations("p", TENANT) == [
        now.derive("p", TENANT),
        was.derive("p", TENANT),
        b"x" * 32,
        old_form.derive(b"m" * 32, "p", TENANT),
        old_form.derive(b"l" * 32, "p", TENANT),
    ]
    assert kept.derivations("q", TENANT)[:1] == [now.derive("q", TENANT)]
    assert was.derive("p", TENANT) not in kept.derivations("q", TENANT)


def test_a_secret_and_a_file_that_an_earlier_release_sealed_still_open():
    assert (
        KEYS.open(
            bytes.fromhex("01a8c297a6cfe7fd2228bdb9d9ecc88b3c819000b26100769274966c15c75a1d78aacfd242378a"), purpose="p"
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
    assert MASTERS.derive_old("a", TENANT)[0].hex() == (
        "11e2aa546f368545cf4bb338c93d5cb7944f762d0fe49cdd85becebf89d816b8"
    )
    assert MASTERS.derive_old("a")[0].hex() == "1416178f9fb679c65ca513542dd0568ac7a0211ea6c30365bcfd944be288f352"


def test_what_this_release_seals_opens_in_later_ones():
    assert (
        KEYS.open(
            bytes.fromhex("0200000001e4d382a2a02794c4b9ef6d2066da0cc862bee01380561832cb2e117cf21ab83b8a5f"),
            purpose="p",
            aad=b"row",
        )
        == b"secret"
    )
    assert (
        open_file(
            bytes.fromhex(
                "012821ed7acdd89f020000000158e0264ef79a33ed993eca3718b081b9688fde3630759227413e1ff7d409218ddf2320d043bd8c520053b9a4ce888dd00e934a42974d4de32052bad413cca98d86d718f537fdb3e67aadfc684a98181a3c"
            )
        )
        == b"hello"
    )
    place = {"tenant_id": TENANT, "purpose": "seal", "version": 7}
    assert (
        MASTERS.unwrap(
            bytes.fromhex(
                "02a8c297a6c13c9536cca87b5f45473f79f71b23cbf7d8cc20825b75114cedba4106d14f67720c2362d697de52225d2bcba1fdf195b92cbc0b6772ef22a40ef34f"
            ),
            **place,
        )
        == b"d" * 32
    )


@pytest.mark.parametrize("tenant", [None, TENANT])
def test_what_is_sealed_straight_from_a_master_key_opens_while_that_is_there(tenant):
    sealed = old_form.seal(b"o" * 32, b"s", purpose="p", tenant_id=tenant, aad=b"row")
    there = keys_of(tenant or PLATFORM, masters=MasterKeys([MASTER, b"o" * 32]))
    assert there.open(sealed, purpose="p", aad=b"row") == b"s"
    with pytest.raises(UnknownMasterKey, match="FOLKMOOT_SECRET_KEY"):
        keys_of(tenant or PLATFORM).open(sealed, purpose="p", aad=b"row")
    with pytest.raises(Tampered):
        there.open(sealed, purpose="p", aad=b"another row")
    with pytest.raises(Tampered):
        keys_of(uuid4(), masters=MasterKeys(b"o" * 32)).open(sealed, purpose="p", aad=b"row")


@pytest.mark.parametrize("keys", [[], b"", b"short", b"x" * 33, [b"k" * 32, b"k" * 32], [b"k" * 32, b"k" * 31]])
def test_a_master_key_that_cannot_be_one_is_refused(keys):
    with pytest.raises(BadMasterKey):
        MasterKeys(keys)


def test_keys_do_not_show_themselves():
    roots = Roots([b"r" * 32], {"p": [b"r" * 32]}, MASTERS)
    for one, letter in ((MASTERS, "k"), (KEYS, "d"), (roots, "r")):
        assert letter * 4 not in repr(one)
        assert (letter.encode() * 32).hex() not in repr(one)


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
        open_file(sealed, keys=keys_of(UUID(int=2)))
    with pytest.raises(UnknownKeyVersion):
        open_file(seal_file(b"x", keys=keys_of(TENANT, b"1" * 32, b"2" * 32)))


def test_a_segment_opens_without_those_before_it():
    plain = os.urandom(3 * SEGMENT_BYTES + 5)
    sealed = seal_file(plain)
    opener = FileOpener(KEYS, sealed[:HEADER_BYTES], len(sealed), name="a")
    assert opener.open(2, sealed[sealed_offset(2) : sealed_offset(3)]) == plain[2 * SEGMENT_BYTES : 3 * SEGMENT_BYTES]
    with pytest.raises(Tampered):
        opener.open(1, sealed[sealed_offset(2) : sealed_offset(3)])


def test_a_header_is_sealed_anew_and_the_segments_stay():
    plain, both = os.urandom(100_000), keys_of(TENANT, b"d" * 32, b"e" * 32)
    for sealed in (seal_file(plain), old_form.seal_file(MASTER, plain, tenant_id=TENANT, name="a")):
        header = resealed_header(both, sealed[:HEADER_BYTES], name="a")
        after = header + sealed[HEADER_BYTES:]
        assert open_file(after, keys=Keys(TENANT, {2: b"e" * 32}, 2, MasterKeys(b"x" * 32))) == plain
        assert resealed_header(both, header, name="a") is None
        before, now = (FileOpener(both, file[:HEADER_BYTES], len(file), name="a") for file in (sealed, after))
        assert before.same(now)
        other = seal_file(plain)
        assert not before.same(FileOpener(both, other[:HEADER_BYTES], len(other), name="a"))
        with pytest.raises(Tampered, match="'b'"):
            resealed_header(both, sealed[:HEADER_BYTES], name="b")
    with pytest.raises(Tampered):
        resealed_header(both, seal_file(plain)[: HEADER_BYTES - 1], name="a")
