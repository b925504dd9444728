"""Who a provider says somebody is, and whether the allow-list lets them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from facecluster.errors import ConfigError
from facecluster.model import UserId

ANYONE = "*"


@dataclass(frozen=True)
class Identity:
    """One person as one provider knows them; `email` is "" where the provider did not verify it.

    An unverified address is whatever somebody typed, so it is not kept at all.
    """

    issuer: str
    subject: str
    email: str = ""
    name: str = ""

    @property
    def user(self) -> UserId:
        """Whose library is theirs. Issuer and subject together: a subject is unique at its issuer only."""
        return UserId(f"{self.issuer}|{self.subject}")

    @property
    def shown(self) -> str:
        """What to call them on a screen."""
        return self.email or self.name or self.user


def identity_of(claims: Mapping[str, object]) -> Identity | None:
    """Who the claims of an identity token name; None where issuer or subject is missing or is no text."""
    issuer, subject = claims.get("iss"), claims.get("sub")
    if not isinstance(issuer, str) or not isinstance(subject, str) or not issuer or not subject:
        return None
    # An issuer is an address and holds no bar; with one, two pairs could come to the same user.
    if "|" in issuer or not _is_plain(issuer) or not _is_plain(subject) or len(issuer) + len(subject) > 500:
        return None
    email, name = claims.get("email"), claims.get("name")
    is_verified = claims.get("email_verified") is True  # "true" as text, or 1, is not a yes
    return Identity(
        issuer,
        subject,
        email if is_verified and isinstance(email, str) and _is_plain(email) else "",
        name[:100] if isinstance(name, str) and _is_plain(name) else "",
    )


@dataclass(frozen=True)
class AllowList:
    """Who may use this installation."""

    users: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    is_anyone: bool = False

    def admits(self, who: Identity) -> bool:
        """Whether somebody is on the list: by issuer and subject, or by an address that the provider verified."""
        if self.is_anyone or who.user in self.users:
            return True
        email = who.email.lower()
        _, at, domain = email.rpartition("@")
        return bool(at) and (email in self.emails or domain in self.domains)


def allow_list(entries: Iterable[str]) -> AllowList:
    """The list that entries make: `issuer|subject`, `anna@example.org`, `@example.org`, or `*` for anyone.

    Raises
    ------
    ConfigError
        For an entry that is none of these.
    """
    users: set[str] = set()
    emails: set[str] = set()
    domains: set[str] = set()
    is_anyone = False
    for entry in entries:
        local, at, domain = entry.rpartition("@")
        if entry == ANYONE:
            is_anyone = True
        elif "|" in entry and all(entry.partition("|")[::2]):
            users.add(entry)
        elif at and domain and "|" not in entry and "*" not in entry and "@" not in local:
            (emails if local else domains).add(entry.lower() if local else domain.lower())
        else:
            raise ConfigError(
                f"The setting FACECLUSTER_ALLOWED has {entry!r}, which is no issuer|subject, e-mail address, @domain "
                "or *. Nobody was let in. See docs/sign-in.md."
            )
    return AllowList(frozenset(users), frozenset(emails), frozenset(domains), is_anyone)


def _is_plain(text: str) -> bool:
    """Whether text can be shown and stored as it is: no control characters, no halves of characters."""
    return text.isprintable() and not any("\ud800" <= c <= "\udfff" for c in text)
