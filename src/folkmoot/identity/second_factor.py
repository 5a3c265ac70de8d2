"""The second factor: codes of an authenticator (TOTP, RFC 6238), and recovery codes for when it is lost.

The secret is sealed with the tenant's key, and recovery codes are stored as keyed hashes. No code is good twice:
the step of a used one is written in the statement that checks it, so of two sign-ins with one code one wins.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyotp import random_base32
from pyotp.totp import TOTP
from sqlalchemy import Update, any_, func, literal, update

from folkmoot.identity import passwords
from folkmoot.identity.models import User
from folkmoot.identity.throttle import Throttle
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import AppError, Conflict, NotFound, NotSignedIn, ValidationFailed
from folkmoot.kit.work import Work

ISSUER = "Folkmoot"
STEP_SECONDS = 30
SKEW_STEPS = 1
"""How many steps the clock of a telephone may be off (RFC 6238, 5.2 and 6)."""
RECOVERY_CODES = 10
RECOVERY_BYTES = 10
"""80 random bits, of which the keyed hash is stored."""


@dataclass(frozen=True)
class Enrolment:
    """What an authenticator needs; shown once."""

    secret: str
    uri: str
    """`otpauth://…`, to be shown as a QR code."""


async def use_code(work: Work, keyring: Keyring, user: User, code: str) -> bool:
    """Whether `code` proves the second factor of `user`; it is used up by this.

    Records that a recovery code was used, which its owner should hear of.
    """
    plain = "".join(code.split()).replace("-", "").upper()
    step = await _step_of(keyring, user, plain)
    if step is not None:
        used = update(User).where(User.id == user.id, User.totp_used_step < step).values(totp_used_step=step)
        return await _changed(work, used)
    for found in _recovery_hashes(keyring, user, plain):
        spent = (
            update(User)
            .where(User.id == user.id, literal(found) == any_(User.recovery_codes))
            .values(recovery_codes=func.array_remove(User.recovery_codes, found))
        )
        if await _changed(work, spent):
            left = len(user.recovery_codes) - 1
            work.record("second_factor.recovery_used", "user", user.id, user_id=user.id, data={"left": left})
            return True
    return False


def remove(work: Work, user: User) -> bool:
    """Take the second factor away; whoever is allowed to must have been checked. Returns whether there was one."""
    had = user.totp_confirmed_at is not None
    user.totp_secret, user.totp_confirmed_at, user.recovery_codes = None, None, []
    if had:
        own = work.principal.user_id == user.id
        work.record("second_factor.disabled", "user", user.id, user_id=user.id, data={"by": "self" if own else "other"})
    return had


class SecondFactor:
    """What people do with their own; each use case opens its own short transactions."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def begin(self, principal: Principal, password: str) -> Enrolment:
        """A new secret, which counts once a code of it was confirmed.

        Raises `ValidationFailed` (`password-wrong`), `Conflict` (`second-factor-exists`, `no-password`) or `Locked`.
        """
        await prove_password(self._app, principal, password)
        async with self._app.begin(principal) as work:
            user = await self._own(work)
            if user.totp_confirmed_at is not None:
                raise Conflict(
                    "a second factor is set up already: take it away first, with a code of it",
                    code="second-factor-exists",
                )
            secret = random_base32()
            user.totp_secret = await self._app.keyring.seal(
                secret.encode(), purpose="totp", tenant_id=user.tenant_id, aad=user.id.bytes
            )
            authenticator: Any = TOTP(secret, name=user.email, issuer=ISSUER)
            uri: str = authenticator.provisioning_uri()
        return Enrolment(secret, uri)

    async def confirm(self, principal: Principal, code: str) -> list[str]:
        """Turn it on by a first code; returns the recovery codes.

        Guesses are counted, by themselves: whoever sits at somebody's desk must not come to recovery codes by
        trying. Raises `Conflict` (`second-factor-exists`, `second-factor-not-begun`), `ValidationFailed`
        (`second-factor-wrong`) or `Locked`.
        """
        async with Throttle(self._app).attempt(f"confirm:{principal.user}") as attempt:
            try:
                codes = await self._confirm(principal, code)
            except ValidationFailed as wrong:
                await attempt.wrong()
                await _note_wrong(self._app, principal, wrong)
                raise
            await attempt.right()
        return codes

    async def _confirm(self, principal: Principal, code: str) -> list[str]:
        async with self._app.begin(principal) as work:
            user = await self._own(work)
            if user.totp_confirmed_at is not None:
                raise Conflict("a second factor is set up already", code="second-factor-exists")
            if user.totp_secret is None:
                raise Conflict(
                    "no second factor was begun: `POST /api/v1/me/second-factor` gives a secret",
                    code="second-factor-not-begun",
                )
            step = await _step_of(self._app.keyring, user, "".join(code.split()))
            if step is None:
                raise _wrong_here()
            user.totp_confirmed_at, user.totp_used_step = datetime.now(UTC), step
            codes = _new_codes(self._app.keyring, user)
            work.record("second_factor.enabled", "user", user.id, user_id=user.id)
        return codes

    async def disable(self, principal: Principal, password: str, code: str) -> None:
        """Take one's own away. Raises as `begin` does, and `NotFound` or `ValidationFailed` (`second-factor-wrong`)."""
        await prove_password(self._app, principal, password, code=code)
        async with self._app.begin(principal) as work:
            remove(work, await self._own(work))

    async def renew_recovery_codes(self, principal: Principal, password: str, code: str) -> list[str]:
        """Ten new recovery codes; the old ones are void. Raises as `disable` does."""
        await prove_password(self._app, principal, password, code=code)
        async with self._app.begin(principal) as work:
            user = await self._own(work)
            codes = _new_codes(self._app.keyring, user)
            work.record("second_factor.recovery_renewed", "user", user.id, user_id=user.id)
        return codes

    async def _own(self, work: Work) -> User:
        return await own_account(work, lock=True)


async def own_account(work: Work, *, lock: bool = False) -> User:
    """The caller's own row. Raises `NotSignedIn` if the account is gone."""
    user = await work.session.get(User, work.principal.user, with_for_update={"key_share": True} if lock else None)
    if user is None:
        raise NotSignedIn("this account is gone", code="session-ended")
    return user


async def prove_password(
    app: App, principal: Principal, password: str, *, code: str | None = None, field: str = "password"
) -> User:
    """That it is the person who asks, not somebody at their desk: by password, and by `code` if one is given.

    Failures count as failed sign-ins do; `field` is where the password stood in the body. Raises
    `ValidationFailed` (`password-wrong`, `second-factor-wrong`), `Conflict` (`no-password`), `NotFound` (no second
    factor) or `Locked`.
    """
    async with app.begin(principal) as work:
        user = await own_account(work)
    if user.password_hash is None:
        raise Conflict(
            "this account has no password here, since it signs in elsewhere: change it there", code="no-password"
        )
    if code is not None and user.totp_confirmed_at is None:
        raise NotFound("no second factor is set up for this account")
    async with Throttle(app).attempt(user.email) as attempt:
        wrong: AppError | None = None
        if not await passwords.matches(password, user.password_hash):
            wrong = _field(field, "this is not your password", "password-wrong")
        elif code is not None:
            async with app.begin(principal) as work:
                if not await use_code(work, app.keyring, user, code):
                    wrong = _wrong_here()
        if wrong is None:
            await attempt.right()
            return user
        locked = await attempt.wrong()
        await _note_wrong(app, principal, wrong, locked=locked)
        raise wrong


async def _note_wrong(app: App, principal: Principal, wrong: AppError, *, locked: bool = False) -> None:
    async with app.begin(principal) as work:
        said, own = {"reason": wrong.code}, principal.user
        work.record("session.failed", "user", own, user_id=own, data=said | {"signed_in": True})
        if locked:
            work.record("account.locked", "user", own, user_id=own, data=said)


def _wrong_here() -> ValidationFailed:
    return _field(
        "code",
        "the code is wrong or was used before: wait for the next one of your authenticator",
        "second-factor-wrong",
    )


def _field(path: str, detail: str, code: str) -> ValidationFailed:
    refusal = ValidationFailed(detail, [(path, detail)])
    refusal.code = code
    return refusal


async def _step_of(keyring: Keyring, user: User, code: str) -> int | None:
    """The time step that `code` belongs to, or None if it is not one of now."""
    if user.totp_secret is None or not (code.isascii() and code.isdigit() and len(code) == 6):
        return None
    secret = await keyring.open(user.totp_secret, purpose="totp", tenant_id=user.tenant_id, aad=user.id.bytes)
    totp, now = TOTP(secret.decode(), interval=STEP_SECONDS), int(time.time()) // STEP_SECONDS
    for step in range(now - SKEW_STEPS, now + SKEW_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            return step
    return None


def _new_codes(keyring: Keyring, user: User) -> list[str]:
    plain = [base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode() for _ in range(RECOVERY_CODES)]
    user.recovery_codes = [_recovery_hashes(keyring, user, code)[0] for code in plain]
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)).lower() for code in plain]


def _recovery_hashes(keyring: Keyring, user: User, code: str) -> list[str]:
    """What is stored of a code: under the key that is in use first, then under those before it."""
    if not code.isascii() or len(code) != RECOVERY_BYTES * 8 // 5:
        return []
    keys = keyring.derivations("recovery-code", user.tenant_id)
    return [hmac.new(key, user.id.bytes + code.encode(), hashlib.sha256).hexdigest() for key in keys]


async def _changed(work: Work, statement: Update) -> bool:
    """Whether an UPDATE found its row."""
    unsynchronised = statement.execution_options(synchronize_session=False)
    return (await work.session.execute(unsynchronised.returning(User.id))).first() is not None
