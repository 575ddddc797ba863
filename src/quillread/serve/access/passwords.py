"""Passwords: hashed by argon2, a few at a time, so that many attempts at once take neither the memory nor the cores."""

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from quillread.serve.faults import BusyError, RequestError

SHORTEST, LONGEST = 8, 1000
"""Characters of a password."""
_AT_ONCE = 2
_MOST_WAITING = 50
_HASHER = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)  # 32 MiB; above what OWASP asks for
_POOL = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="quillread-password")
_waiting = 0


def hash_password(password: str, name: str) -> str:
    """Hash a new password.

    Args:
        password: The password.
        name: That it must not be.

    Raises:
        RequestError: If it is too short or too long, or the name.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        message = f"a password has {SHORTEST} to {LONGEST:,} characters, this one {len(password):,}"
        raise RequestError(message, code="password-length", least=SHORTEST, most=LONGEST)
    if password.casefold() == name.casefold():
        raise RequestError("the password is the name", hint="take another one", code="password-is-name")
    return _POOL.submit(_HASHER.hash, _normal(password)).result()


async def is_password(password: str, hashed: str | None) -> bool:
    """Tell whether a password is the one that was hashed; it takes as long if there is none.

    Raises:
        BusyError: If too many wait.
    """
    global _waiting  # of one event loop
    if _waiting >= _MOST_WAITING:
        raise BusyError("too many passwords are being checked", retry_after=5)
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_POOL, _verify, password, hashed)
    finally:
        _waiting -= 1


def _verify(password: str, hashed: str | None) -> bool:
    try:
        return _HASHER.verify(hashed or _nobodys(), _normal(password)) and hashed is not None
    except (Argon2Error, InvalidHashError):
        return False


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return _HASHER.hash("the password of names that do not exist")


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)  # keyboards differ in how they write an accent
