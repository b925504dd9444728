"""What kind of drive a folder lies on: SQLite's write-ahead log needs memory that all who open it share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

# Drives that other machines may write to, or that do not share mapped memory between processes.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs", "drvfs", "vboxsf"}
)
_MOUNTS = Path("/proc/self/mountinfo")


def kind_of_drive(folder: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system that a folder lies on ("ext4", "nfs4", "fuse.sshfs"), "" where nobody says."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    here = folder.resolve()
    best, found = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        place, kind = before.split(" ")[4:5], after.split(" ")[:1]
        if not place or not kind:
            continue
        # Blanks and the like are written as octal numbers.
        path = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), place[0]))
        if here.is_relative_to(path) and len(path.parts) >= best:  # of two on one place, the later one covers
            best, found = len(path.parts), kind[0]
    return found


def is_shared(kind: str) -> bool:
    """Whether a drive of this kind may be a network's."""
    return kind in NETWORK or kind.startswith("fuse")


def journal_for(folder: Path, mounts: Path = _MOUNTS) -> Literal["wal", "delete"]:
    """The journal that is safe there: a log beside the file, or on a network's drive the older kind without one.

    The older kind makes readers wait for writers, and relies on the drive's locks: several processes may use such a
    library at once only where those work.
    """
    return "delete" if is_shared(kind_of_drive(folder, mounts)) else "wal"
