"""Pictures are decoded in a process that may die, hang or fill its memory without anybody else noticing."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from facecluster import decoding, decoding_child, images
from facecluster.errors import WorkersError
from facecluster.images import FaceInPhoto

HEAD_ONLY = images.square(b"", 40)


def picture(kind: str = "PNG", size: tuple[int, int] = (30, 20), colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


@pytest.fixture
def pool(monkeypatch):
    """Processes of this test alone."""
    own = decoding._Pool()
    monkeypatch.setattr(decoding, "_pool", own)
    yield own
    own.close()


def idle(pool) -> decoding._Child:
    (child,) = pool._idle
    return child


def test_a_picture_comes_back_as_if_it_had_been_decoded_here(pool):
    crops = [picture(kind, (20 + at, 30)) for at, kind in enumerate(("PNG", "JPEG", "WEBP"))] + [b"", b"no picture"]
    assert decoding.squares(crops * 40, 40) == [images.square(crop, 40) for crop in crops] * 40
    assert len({id(child) for child in pool._idle}) == 1


def test_who_is_killed_while_idle_is_replaced(pool):
    decoding.square(picture(), 40)
    first = idle(pool)
    first.process.kill()
    first.process.wait()
    assert decoding.square(picture(), 40) == images.square(picture(), 40)
    assert idle(pool) is not first


def test_a_decoder_that_hangs_is_ended_and_its_picture_is_the_drawn_head(pool, monkeypatch):
    decoding.square(picture(), 40)
    hung = idle(pool)
    os.kill(hung.process.pid, signal.SIGSTOP)
    monkeypatch.setattr(decoding, "_PATIENCE_S", -0.8)  # 0.2 s for one picture
    assert decoding.square(picture(), 40) == HEAD_ONLY
    assert hung.process.returncode == -signal.SIGKILL
    monkeypatch.undo()
    monkeypatch.setattr(decoding, "_pool", pool)
    assert decoding.square(picture(), 40) == images.square(picture(), 40)


def test_a_decoder_that_dies_over_one_of_many_costs_that_one_alone(pool, monkeypatch):
    bad, ask = picture(colour="blue"), decoding._Child.ask

    def dies(child, what, size, parts):
        if bad in parts:
            os.kill(child.process.pid, signal.SIGSEGV)
            child.process.wait()
        return ask(child, what, size, parts)

    monkeypatch.setattr(decoding._Child, "ask", dies)
    good = images.square(picture(), 40)
    assert decoding.squares([picture(), bad, picture()], 40) == [good, HEAD_ONLY, good]
    assert decoding.refusals([picture(), bad, b""]) == ["", "the decoder broke down over the picture", ""]


def test_a_sketch_is_put_together_there_and_has_heads_where_that_fails(pool, monkeypatch):
    faces = [FaceInPhoto((0, 0, 9, 9), picture(), False), FaceInPhoto((20, 0, 29, 9), picture("JPEG"), True)]
    assert decoding.photo_sketch(faces, 90) == images.photo_sketch(faces, 90)
    idle(pool).process.kill()

    def no_process(*args: object, **kwargs: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    idle(pool).process.wait()
    bare = [FaceInPhoto(face.box, b"", face.is_meant) for face in faces]
    assert decoding.photo_sketch(faces, 90) == images.photo_sketch(bare, 90)
    assert decoding.square(picture(), 40) == HEAD_ONLY
    with pytest.raises(WorkersError, match="cannot be started: Resource temporarily unavailable"):
        decoding.refusals([picture()])


def test_many_threads_get_the_pictures_that_they_asked_for(pool):
    found: dict[int, bytes] = {}
    sizes = range(10, 50)
    threads = [
        threading.Thread(target=lambda size=size: found.update({size: decoding.square(picture(), size)}))
        for size in sizes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {size: images.square(picture(), size) for size in sizes}
    assert len(pool._idle) <= 2


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc on this machine")
def test_the_process_holds_no_key_and_may_open_nothing(pool, monkeypatch):
    monkeypatch.setenv("PINECONE_API_KEY", "canary-key")
    decoding.square(picture(), 40)
    proc = Path("/proc") / str(idle(pool).process.pid)
    assert b"canary" not in (proc / "environ").read_bytes()
    assert {int(name) for name in os.listdir(proc / "fd")} <= {0, 1, 2, 3}
    limits = (proc / "limits").read_text()
    for name, limit in {"Max open files": 0, "Max file size": 0, "Max core file size": 0}.items():
        (line,) = [line for line in limits.splitlines() if line.startswith(name)]
        assert line.removeprefix(name).split()[:2] == [str(limit)] * 2


_CONFINED = "from facecluster.decoding_child import confine, _allow; confine(); "


@pytest.mark.parametrize(
    ("code", "how_it_ends"),
    [
        ("x = bytearray(100 * 2**20)", 1),
        ("open('/etc/hostname')", 1),
        ("import socket; socket.socket()", 1),
        ("_allow(0.2)\nwhile True: pass", -signal.SIGPROF),
    ],
)
def test_memory_files_connections_and_time_are_bounded(code, how_it_ends):
    command = [sys.executable, "-c", _CONFINED + code]
    ended = subprocess.run(command, cwd=images.__file__.rsplit("/", 2)[0], capture_output=True, timeout=60)
    assert ended.returncode == how_it_ends


def test_the_process_ends_with_who_started_it():
    command = [sys.executable, "-m", "facecluster.decoding_child"]
    with subprocess.Popen(
        command, cwd=images.__file__.rsplit("/", 2)[0], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.communicate(decoding_child.HEAD.pack(decoding_child.SQUARE, 8, 3), timeout=60)
    assert child.returncode == 0


def test_a_picture_of_too_many_bytes_is_not_even_sent(pool):
    assert decoding.refusals([b"x" * 2_000_001]) == ["the picture has 2,000,001 bytes, and the limit is 2,000,000"]
    assert decoding.square(b"x" * 2_000_001, 40) == HEAD_ONLY
