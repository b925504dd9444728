"""Which records of a Pinecone index are one user's, so that users never mix."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from facecluster.config import Settings
from facecluster.errors import ConfigError
from facecluster.model import UserId

MAX_NAMESPACE = 512
# Metadata that faces are made of; a field that names users must be another one.
FIELDS = ("url", "photo", "folder", "blur_score", "box", "face_crop")


@dataclass(frozen=True)
class Part:
    """Which records of which index are one user's.

    Attributes
    ----------
    index : str
        Its name; looked up at the control plane where `host` is empty.
    host : str
        Address of the data plane, "" where it is to be looked up.
    namespace : str
        "" is the default one.
    user_field : str
        Metadata field that must hold `user`; "" where the namespace is the user's own.
    is_grpc : bool
        Speak gRPC instead of REST.
    is_only_user : bool
        Nobody else uses the index, so that its other namespaces may be named.
    """

    index: str
    host: str
    namespace: str
    user_field: str
    user: UserId
    is_grpc: bool = False
    is_only_user: bool = False

    @property
    def key(self) -> str:
        """The same for the same place only; a folder of this name never meets another place's faces."""
        parts = (self.host or self.index, self.namespace, self.user_field)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def filter(self) -> dict[str, Any]:
        """What the records' metadata must fulfil."""
        return {self.user_field: {"$eq": self.user}}

    def holds(self, metadata: Mapping[str, Any] | None) -> bool:
        """Whether a record with such metadata is this user's."""
        return not self.user_field or (metadata or {}).get(self.user_field) == self.user


def part_of(settings: Settings, user: UserId) -> Part:
    """The user's part of the index of the settings.

    Raises
    ------
    ConfigError
        If the settings keep no two users apart and this is not their user, or they make no sense.
    """
    template, user_field = settings.pinecone_namespace, settings.pinecone_user_field
    if not user:
        raise ConfigError("The user is empty. Nothing was opened. Set FACECLUSTER_USER.")
    if user != settings.user and "{user}" not in template and not user_field:
        raise ConfigError(
            f"Nothing keeps the faces of {user!r} apart from those of others in the Pinecone index "
            f"{settings.pinecone_index!r}, so nothing was read. Set PINECONE_NAMESPACE to a name with {{user}} in it, "
            "or PINECONE_USER_FIELD to the metadata field that names the user."
        )
    if user_field in FIELDS or user_field.startswith("$"):
        raise ConfigError(
            f"PINECONE_USER_FIELD cannot be {user_field!r}: faces have another use for it. Nothing was read. "
            "Set it to the metadata field that names the user."
        )
    namespace = namespace_of(template, user)
    return Part(
        settings.pinecone_index,
        settings.pinecone_host,
        namespace,
        user_field,
        user,
        settings.pinecone_grpc,
        is_only_user="{user}" not in template and not user_field,
    )


def spelled(user: str) -> str:
    """A user id as a part of a namespace, which must be ASCII: graphic characters as they are, others as %XX.

    No two users are spelled alike: a percent sign is spelled %25, and what is too long ends in "%~" and its SHA-256.
    """
    plain = "".join(c if "!" <= c <= "~" and c != "%" else quote(c.encode("utf-8", "surrogatepass")) for c in user)
    if len(plain) <= MAX_NAMESPACE // 2:
        return plain
    return f"{plain[:100]}%~{hashlib.sha256(user.encode('utf-8', 'surrogatepass')).hexdigest()}"


def namespace_of(template: str, user: str) -> str:
    """The namespace of a user; `{user}` in the template stands for the user.

    Raises
    ------
    ConfigError
        If Pinecone does not take such a namespace.
    """
    namespace = template.replace("{user}", spelled(user))
    if "{user}" in template and namespace == "__default__":
        return "%5F_default__"  # a user of that name must not get the namespace that everybody shares
    if len(namespace) > MAX_NAMESPACE or not namespace.isascii() or "\0" in namespace:
        raise ConfigError(
            f"Pinecone takes no namespace {namespace[:80]!r} ({len(namespace):,} characters): it must be ASCII, and "
            f"of at most {MAX_NAMESPACE}. Nothing was read. Set PINECONE_NAMESPACE."
        )
    return namespace
