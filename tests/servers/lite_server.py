"""A second stand-in for a Supabase project that nobody here wrote: npm's `@supabase/lite` on PGlite, in a subprocess.

It is compatible, not the same, and alpha: it drops SQLSTATE (`code` is "SUP"), gives rights on tables back to anon, and
runs functions as a superuser whom no policy binds. So it shows that requests are built and answers read as its authors
understood PostgREST, and nothing about who may do what; that is shown on a real Postgres.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import jwt

from servers import npm
from servers.postgres_server import end, free_port, launch, migrations

PACKAGE = ("@supabase/lite", "0.10.0")

# A project has these before any migration; lite makes them only once it finds tables with policies.
ROLES = """
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
grant usage on schema public to anon, authenticated, service_role;
"""

CONFIG = """
[api]
port = {port}

[db]
driver = "pglite"
url = "supabase/.temp/data"

[auth]
enabled = true
jwt_secret = "{jwt_secret}"
publishable_key = "{publishable_key}"
secret_key = "{service_key}"
"""


class LiteServer:
    """A project on 127.0.0.1 in which the migrations ran.

    Attributes
    ----------
    url : str
        What `supabase.create_client` takes.
    service_key, publishable_key : str
        Keys of the new kind.
    """

    def __init__(self, seconds: float = 90) -> None:
        self._lite = installed()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.service_key = f"sb_secret_{secrets.token_urlsafe(12)}"
        self.publishable_key = f"sb_publishable_{secrets.token_urlsafe(12)}"
        self.jwt_secret = secrets.token_hex(32)
        self.folder = Path(tempfile.mkdtemp(prefix="facecluster-lite-"))
        self._launcher: subprocess.Popen[bytes] | None = None
        try:
            self._migrate()
            self._start(seconds)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> LiteServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and remove its folder. Safe to repeat."""
        if self._launcher is not None:
            end(self._launcher)
        shutil.rmtree(self.folder, ignore_errors=True)

    def token(self, user: str | None, expires_in: float = 3600, **claims: object) -> str:
        """What a signed-in user brings; `None` is a token without a subject, further claims replace the usual ones."""
        now = time.time()
        payload: dict[str, object] = {"role": "authenticated", "aud": "authenticated", "iat": int(now)}
        payload |= {"exp": int(now + expires_in)} | ({} if user is None else {"sub": user}) | claims
        return jwt.encode(payload, self.jwt_secret, algorithm="HS256")

    def _migrate(self) -> None:
        scripts = self.folder / "supabase" / "migrations"
        scripts.mkdir(parents=True)
        (self.folder / "supabase" / "config.toml").write_text(CONFIG.format(**vars(self)), "utf-8")
        (scripts / "20000101000000_roles.sql").write_text(ROLES, "utf-8")
        for script in migrations():
            shutil.copy(script, scripts)
        done = subprocess.run(
            [self._lite, "migration", "up"],
            cwd=self.folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or "failed" in (done.stdout + done.stderr).lower():
            raise RuntimeError(f"The migrations did not run on PGlite: {(done.stderr or done.stdout)[-2000:]}")

    def _start(self, seconds: float) -> None:
        self._launcher = launch((self._lite, "start", "--no-admin"), self.folder, "TERM", ENVIRONMENT)
        deadline = time.monotonic() + seconds
        while not self._answers():
            if self._launcher.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text("utf-8", "replace")[-2000:]
                raise RuntimeError(f"@supabase/lite did not start in {seconds:.0f} s and said {said!r}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        request = urllib.request.Request(f"{self.url}/rest/v1/", headers={"apikey": self.service_key})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


ENVIRONMENT = {**npm.ENVIRONMENT, "LITE_TELEMETRY": "0"}


def installed() -> Path:
    """The `lite` program, installed from npm on the first call; skips where that cannot be."""
    return npm.installed(*PACKAGE) / ".bin" / "lite"


if __name__ == "__main__":
    npm.say(*PACKAGE)
