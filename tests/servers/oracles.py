"""What Pinecone's answers must look like, by models that nobody here wrote.

An older client, pinecone 8.1.2, carries models generated from the API's description, and the stubs of its gRPC service.
It has the import name of the client that the program uses, so it lives in a directory of its own and runs in a process
of its own. `python tests/servers/oracles.py` installs it there; it is small, and it is done once.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE = "pinecone[grpc]==8.1.2"
DIRECTORY = Path(sys.prefix) / "oracles" / "pinecone-8.1.2"


class OracleError(Exception):
    """The models cannot be had on this machine."""


def install() -> Path:
    """Where the older client is, after installing it where it is not."""
    if DIRECTORY.is_dir():
        return DIRECTORY
    DIRECTORY.parent.mkdir(parents=True, exist_ok=True)
    unfinished = DIRECTORY.with_name(f"{DIRECTORY.name}.{os.getpid()}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    done = subprocess.run([*command, "--target", str(unfinished), PACKAGE], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OracleError(
            f"{PACKAGE} cannot be installed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        )
    try:
        unfinished.rename(DIRECTORY)
    except OSError:
        shutil.rmtree(unfinished)  # another process was faster
    return DIRECTORY


def environment() -> dict[str, str]:
    """The environment of a process that imports the older client."""
    return {**os.environ, "PYTHONPATH": str(install())}


def complaints(answers: Sequence[tuple[str, Any]]) -> list[str]:
    """What the models have against each answer, "" for nothing; an answer comes with the name of its model."""
    done = subprocess.run(
        [sys.executable, __file__, "judge"],
        input=json.dumps(answers),
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def judge(answers: Sequence[tuple[str, Any]]) -> list[str]:
    """The same, in the process that has the older client."""
    from pinecone.config.openapi_configuration import Configuration  # type: ignore[import-not-found]
    from pinecone.core.openapi.db_control import models as control  # type: ignore[import-not-found]
    from pinecone.core.openapi.db_data import models as data
    from pinecone.exceptions import PineconeException
    from pinecone.openapi_support.model_utils import validate_and_convert_types  # type: ignore[import-not-found]

    def unknown(kind: Any, answer: Any) -> list[str]:
        """Names in an answer that its model does not have, however deep."""
        if isinstance(kind, list):
            return [name for each in answer for name in unknown(kind[0], each)]
        if isinstance(kind, dict):
            return [name for each in answer.values() for name in unknown(kind[str][0], each)]
        if not hasattr(kind, "attribute_map"):
            return []
        types = {kind.attribute_map[key]: types[0] for key, types in kind.openapi_types.items()}
        inner = [name for key, value in answer.items() if key in types for name in unknown(types[key], value)]
        return sorted(set(answer) - set(types)) + inner

    def complaint(name: str, answer: Any) -> str:
        model = getattr(data, name, None) or getattr(control, name)
        try:
            # A copy: what is judged is turned into objects of the models on the way.
            validate_and_convert_types(copy.deepcopy(answer), (model,), ["answer"], True, True, Configuration())
        except PineconeException as exc:
            return str(exc)
        names = unknown(model, answer)
        return f"unknown: {', '.join(names)}" if names else ""

    return [complaint(name, answer) for name, answer in answers]


if __name__ == "__main__":
    if sys.argv[1:] == ["judge"]:
        sys.stdout.write(json.dumps(judge(json.load(sys.stdin))))
    else:
        try:
            sys.stdout.write(f"{install()}\n")
        except OracleError as exc:
            sys.exit(f"{exc}; the tests that need it are skipped")
