"""An OpenID Connect provider of our own on loopback, that tells the truth or lies as a test asks.

Discovery, keys, authorisation and token endpoint as OpenID Connect Core has them; RS256 with keys made here. Whoever
comes is signed in at once as `claims` say.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "facecluster-tests", "not-a-secret-of-anybody"


@dataclass
class Lies:
    """What is wrong about the next tokens; everything at its default is an honest provider.

    Attributes
    ----------
    claims : dict
        Claims that replace the usual ones; None leaves a claim out.
    algorithm : str
        "RS256"; "none"; or "HS256", signed with the public key, which everybody knows.
    key : str
        "current", "retired" (rotated away), "stranger" (of nobody's list), or "unnamed" (the current one, without kid).
    tampered : bool
        The payload is changed after it was signed.
    no_id_token : bool
        Only an access token comes back.
    reusable_codes : bool
        A code is taken as often as it is brought: a careless provider.
    state : str
        Another state than was asked with.
    metadata : dict
        What discovery says besides, or instead.
    """

    claims: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    key: str = "current"
    tampered: bool = False
    no_id_token: bool = False
    reusable_codes: bool = False
    state: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


class IdentityProvider:
    """The provider, a thread on 127.0.0.1.

    Attributes
    ----------
    claims : dict
        Of whoever comes next.
    lies : Lies
        What is wrong about their token.
    n_tokens : int
        Identity tokens handed out so far: a refusal proves nothing where there was none to refuse.
    broken : list of str
        What the provider itself could not do.
    """

    def __init__(self) -> None:
        self.lies = Lies()
        self.claims: dict[str, Any] = {
            "sub": "anna",
            "email": "anna@example.org",
            "email_verified": True,
            "name": "Anna",
        }
        self.n_tokens = 0
        self.broken: list[str] = []
        self._keys = [self._new_key()]
        self._stranger = self._new_key()
        self._codes: dict[str, dict[str, str]] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.provider = self  # type: ignore[attr-defined]
        self.issuer = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> IdentityProvider:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is on the list no more."""
        self._keys.append(self._new_key())

    def user(self, subject: str) -> str:
        """The id of whoever has this subject here, as the dashboard makes it."""
        return f"{self.issuer}|{subject}"

    @staticmethod
    def _new_key() -> RSAKey:
        return RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"})

    # --- what it answers ------------------------------------------------------------------------------------------

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            **self.lies.metadata,
        }

    def keys(self) -> dict[str, Any]:
        return {"keys": [self._keys[-1].as_dict(private=False)]}

    def authorised(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to, with a code."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = {"code": code, "state": self.lies.state or asked.get("state", "")}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def tokens(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Tokens for a code, once."""
        code = asked.get("code", "")
        given = self._codes.get(code) if self.lies.reusable_codes else self._codes.pop(code, None)
        if given is None or asked.get("redirect_uri") != given["redirect_uri"] or not self._is_pkce(asked, given):
            return 400, {"error": "invalid_grant"}
        answer = {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 300}
        if not self.lies.no_id_token:
            answer["id_token"] = self._id_token(given)
            self.n_tokens += 1
        return 200, answer

    @staticmethod
    def _is_pkce(asked: dict[str, str], given: dict[str, str]) -> bool:
        if "code_challenge" not in given:
            return True
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == given["code_challenge"]

    def _id_token(self, given: dict[str, str]) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        claims |= {"nonce": given["nonce"]} if "nonce" in given else {}
        claims = {k: v for k, v in {**claims, **self.claims, **self.lies.claims}.items() if v is not None}
        token = self._signed(claims)
        if self.lies.tampered:
            head, _, signature = token.split(".")
            token = f"{head}.{_packed({**claims, 'sub': 'victim'})}.{signature}"
        return token

    def _signed(self, claims: dict[str, Any]) -> str:
        lies = self.lies
        if lies.algorithm == "none":
            return f"{_packed({'alg': 'none', 'typ': 'JWT'})}.{_packed(claims)}."
        key = {"retired": self._keys[0], "stranger": self._stranger}.get(lies.key, self._keys[-1])
        header = {"alg": lies.algorithm, "kid": key.kid}
        if lies.key == "unnamed":
            del header["kid"]
        if lies.algorithm == "HS256":
            # By hand: no library signs with what it sees to be a public key.
            text = f"{_packed(header)}.{_packed(claims)}"
            digest = hmac.digest(self._keys[-1].as_pem(private=False), text.encode(), "sha256")
            return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
        return jwt.encode(header, claims, key)


def _packed(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        provider: IdentityProvider = self.server.provider  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            self._json(200, provider.metadata())
        elif parts.path == "/keys":
            self._json(200, provider.keys())
        elif parts.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", provider.authorised(asked))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._json(404, {})

    def do_POST(self) -> None:
        provider: IdentityProvider = self.server.provider  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        try:
            answer = provider.tokens({name: values[0] for name, values in parse_qs(body).items()})
        except Exception as exc:
            provider.broken.append(f"{type(exc).__name__}: {exc}")
            raise
        self._json(*answer)

    def _json(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""
