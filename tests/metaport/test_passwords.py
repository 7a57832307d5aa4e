import hashlib
import unicodedata

import pytest
from argon2 import PasswordHasher

from metaport.passwords import Passwords, fault_of, scrypt_hash

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("짧다", "short"),
        ("nine char", "short"),
        ("가" * 257, "long"),
        ("가가가가나나나나다다다다", "simple"),
        ("1234567890", "simple"),
        ("password2026!", "simple"),
        ("메타포트1234567890", "simple"),
        ("gildong.hong", "simple"),
        ("나무 아래 자전거 둘", None),
        ("correct horse", None),
    ],
)
def test_length_counts_and_what_is_guessed_first_is_refused(password, fault):
    assert fault_of(password, "Gildong.Hong") == fault
    assert fault_of(unicodedata.normalize("NFD", password), "Gildong.Hong") == fault


async def test_a_password_is_the_same_however_its_hangul_was_typed():
    passwords = Passwords(QUICK)
    known = await passwords.hash("나무 아래 자전거")
    assert known.startswith("$argon2id$")
    assert await passwords.check(unicodedata.normalize("NFD", "나무 아래 자전거"), known)
    assert not await passwords.check("나무 아래 자동차", known)


async def test_nobodys_password_is_held_against_a_hash_as_well():
    """Who measures must not learn which accounts exist: the same work is done for none."""
    done = []

    class Counting(PasswordHasher):
        def verify(self, hash, password):
            done.append(hash)
            return super().verify(hash, password)

    passwords = Passwords(Counting(time_cost=1, memory_cost=8, parallelism=1))
    known = await passwords.hash("right password")
    assert not await passwords.check("wrong password", known)
    assert not await passwords.check("wrong password", None)
    costs = [each.split("$")[3] for each in done]
    assert costs == [known.split("$")[3]] * 2


@pytest.mark.parametrize("known", ["", "$argon2id$", "$scrypt$", "$scrypt$1$2$3$zz$zz", "x" * 500])
async def test_a_damaged_hash_is_nobodys(known):
    passwords = Passwords(QUICK)
    assert not await passwords.check("right password", known)
    assert passwords.outdated(known)


async def test_scrypt_of_before_and_weaker_parameters_are_told_to_be_renewed():
    digest = hashlib.scrypt(b"old password", salt=b"s" * 16, n=2**10, r=8, p=1)
    known = scrypt_hash(2**10, 8, 1, b"s" * 16, digest)
    passwords = Passwords(QUICK)
    assert await passwords.check("old password", known)
    assert not await passwords.check("older password", known)
    assert passwords.outdated(known)
    assert not passwords.outdated(await passwords.hash("new password"))
    assert Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)).outdated(
        await passwords.hash("new password")
    )
