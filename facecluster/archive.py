"""The file that a backup is: a zip of plain files with a list of what must be in it, believed in nothing unchecked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from facecluster.errors import InputError
from facecluster.ports import Progress

FORMAT = 1
MANIFEST = "manifest.json"
PIECE = 2**20

_MAX_MANIFEST = 64 * 2**20
_MAX_FILES = 100_000
# Names that we write ourselves. Whatever else a name could be (absolute, `..`, a drive, a device) is not among them.
_NAME = re.compile(r"users/[0-9a-f]{64}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}){1,8}")
# What zipfile and json raise on damaged files, beside our own errors.
_DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError, NotImplementedError, OverflowError),
    *(MemoryError, struct.error, zlib.error, zipfile.BadZipFile),
)


@dataclass(frozen=True)
class Entry:
    """A file of a backup: its size in bytes and its SHA-256, hexadecimal."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Library:
    """One library of a backup.

    Attributes
    ----------
    folder : str
        Where it lies: `users/…`, and `users/…/hosted/…` for the copy of a hosted index.
    user : str
        Whose it is.
    format : int
        Of its database.
    faces, changes : int
        How many.
    hash : str
        `Contents.hash` of it.
    """

    folder: str
    user: str
    format: int
    faces: int
    changes: int
    hash: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself.

    Attributes
    ----------
    made_by, at : str
        Version of facecluster; ISO 8601, UTC.
    definition : int
        What the libraries' hashes are of (`contents.DEFINITION`).
    libraries : tuple[Library, ...]
        What is in it.
    left_out : tuple[str, ...]
        What lay in the library and is not in it.
    files : dict[str, Entry]
        Every file by its name in the archive.
    """

    made_by: str
    at: str
    definition: int
    libraries: tuple[Library, ...]
    left_out: tuple[str, ...]
    files: dict[str, Entry]

    @property
    def n_bytes(self) -> int:
        """Of all files together."""
        return sum(entry.bytes for entry in self.files.values())

    def to_json(self) -> bytes:
        """As it stands in the archive."""
        return json.dumps({"facecluster_backup": FORMAT, **asdict(self)}, ensure_ascii=False, indent=1).encode()


def is_name(name: str) -> bool:
    """Whether a file of a library may be called this in a backup."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class _Head:
    facecluster_backup: int


_HEAD, _MANIFEST = TypeAdapter(_Head), TypeAdapter(Manifest)
_T = TypeVar("_T")


class Writer:
    """An archive in the making; each file is stored as it is, so that no reader has to trust a packed size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self.files: dict[str, Entry] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of: object) -> None:
        self._zip.close()

    def add(self, name: str, source: IO[bytes], n_bytes: int, tell: Callable[[int], None]) -> None:
        """Store the first bytes of a file; `tell` is called with how many were stored just now.

        Raises
        ------
        InputError
            If the file is shorter.
        """
        digest = hashlib.sha256()
        left = n_bytes
        source.seek(0)
        with self._zip.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
            while left and (piece := source.read(min(left, PIECE))):
                target.write(piece)
                digest.update(piece)
                left -= len(piece)
                tell(len(piece))
        if left:
            raise InputError(
                f"{name} lacks {left:,} bytes of {n_bytes:,}. Nothing was backed up. Mend the library first: import "
                "the faces again, or restore an older backup."
            )
        self.files[name] = Entry(n_bytes, digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        """Write the list of files last, and its hash where a reader looks first."""
        data = manifest.to_json()
        self._zip.writestr(zipfile.ZipInfo(MANIFEST), data)
        self._zip.comment = f"facecluster backup {hashlib.sha256(data).hexdigest()}".encode()


class Reader:
    """An archive that was opened and agrees with its own list; its files are still to be hashed."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, size: int) -> None:
        self._path = path
        self._zip = archive
        self.manifest = _manifest(archive)
        _check_entries(archive, self.manifest, size)

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, piece by piece.

        Raises
        ------
        InputError
            At the end, if they are not those that the manifest names.
        """
        digest, size = hashlib.sha256(), 0
        wanted = self.manifest.files[name]
        with _in_one_sentence(self._path), self._zip.open(name) as source:
            while piece := source.read(PIECE):
                digest.update(piece)
                size += len(piece)
                yield piece
            if Entry(size, digest.hexdigest()) != wanted:
                raise InputError(f"its file {name} is not the one that was backed up: the SHA-256 differs")

    def check(self, progress: Progress | None = None) -> Manifest:
        """Hash every file."""
        done, total = 0, max(self.manifest.n_bytes, 1)
        for name in self.manifest.files:
            for piece in self.pieces(name):
                done += len(piece)
                if progress:
                    progress(done / total, "Checking the backup")
        return self.manifest


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Open a backup to read it.

    Raises
    ------
    InputError
        If it is none, or damaged, or made by a newer version, or not what facecluster writes.
    """
    with ExitStack() as stack:
        with _in_one_sentence(path):
            file = stack.enter_context(path.open("rb"))
            archive = stack.enter_context(zipfile.ZipFile(file))
            reader = Reader(path, archive, os.fstat(file.fileno()).st_size)
        yield reader


@contextmanager
def _in_one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise InputError(f"There is no file {path}. Nothing was changed. Check the name.") from exc
    except InputError as exc:
        raise InputError(f"{path} cannot be used: {exc}. Nothing was changed. Use another backup.") from exc
    except _DAMAGE as exc:
        raise InputError(
            f"{path} is damaged or no backup of facecluster ({exc or type(exc).__name__}). Nothing was changed. "
            "Use another backup."
        ) from exc


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    info = archive.getinfo(MANIFEST)
    if info.file_size > _MAX_MANIFEST or info.compress_type != zipfile.ZIP_STORED:
        raise InputError("its list of files is too large or packed")
    data = archive.read(info)
    if archive.comment != f"facecluster backup {hashlib.sha256(data).hexdigest()}".encode():
        raise InputError("its list of files is not the one that was written")
    made = _parsed(_HEAD, data).facecluster_backup
    if made > FORMAT:
        raise InputError(
            f"it has format {made}, and this version reads up to {FORMAT}; a newer facecluster is needed to restore it"
        )
    return _parsed(_MANIFEST, data)


def _parsed(kind: TypeAdapter[_T], data: bytes) -> _T:
    try:
        return kind.validate_json(data, strict=True)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise InputError(f"its list of files makes no sense ({where}: {first['msg']})") from exc


def _check_entries(archive: zipfile.ZipFile, manifest: Manifest, size: int) -> None:
    """Every entry is a plain file of the list, and every file of the list is an entry, once."""
    entries = [info for info in archive.infolist() if info.filename != MANIFEST]
    names = [info.filename for info in entries]
    if len(names) > _MAX_FILES or len(archive.infolist()) != len(names) + 1:
        raise InputError("it has too many files, or a list too many")
    for info in entries:
        _check_entry(info, manifest)
    if len(set(names)) != len(names):
        raise InputError("it holds a file twice")
    missing = sorted(set(manifest.files) - set(names))
    missing += sorted({f"{library.folder}/library.db"[:200] for library in manifest.libraries} - set(manifest.files))
    if missing:
        raise InputError(f"its file {missing[0]} is missing")
    folders = {str(parent) for name in names for parent in Path(name).parents}
    if not folders.isdisjoint(names):
        raise InputError("it holds a file where it needs a folder")
    if manifest.n_bytes > size:
        raise InputError(f"its files would have {manifest.n_bytes:,} bytes, and it has {size:,} itself")


def _check_entry(info: zipfile.ZipInfo, manifest: Manifest) -> None:
    name = info.filename
    if not is_name(name):
        raise InputError(f"it holds a file {name[:200]!r}, which no backup does")
    mode = info.external_attr >> 16
    is_plain = stat.S_IFMT(mode) in (0, stat.S_IFREG) and not info.is_dir()
    if not is_plain or info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise InputError(f"its file {name} is a link, packed or encrypted")
    wanted = manifest.files.get(name)
    if wanted is None:
        raise InputError(f"it holds a file {name} that its list does not name")
    if info.file_size != wanted.bytes:
        raise InputError(f"its file {name} has {info.file_size:,} bytes instead of {wanted.bytes:,}")
