"""One look at an index: ids are listed, records fetched several requests at a time, and the counts compared.

Requests and the checking of what they bring run on threads; what is checked is kept aside by the one thread that
asked for the look, which also tells the progress and is where Cancel comes in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from facecluster.errors import StoreDataError
from facecluster.importing import Refusal, bad_id
from facecluster.model import Coverage
from facecluster.ports import Progress
from facecluster.stores.intake import Intake, Tally
from facecluster.stores.pinecone_index import PAGE, IndexOfUser, Stats, in_addresses
from facecluster.stores.pinecone_records import CheckedPage, checked_page, writable

THREADS = 8  # decoding holds the interpreter, so that more of them would only wait
AHEAD = 2 * THREADS  # fetches on their way or not yet kept: what bounds the memory
LOOKS = 3  # times that the index is listed until its counts agree
BETWEEN_LOOKS_S = 1.0  # counts lag behind writes
_TELL_S = 0.2
_T = TypeVar("_T")


class Reading:
    """A look at one user's part of an index, received by an `Intake`.

    Parameters
    ----------
    index : IndexOfUser
        What is looked at.
    intake : Intake
        Who receives it.
    stats : Stats
        What the index said of itself just before.
    progress : Progress | None
        Told up to a share of 0.95.
    stop : threading.Event
        Set on the way out of a failure, so that no request is repeated any more.
    """

    def __init__(
        self, index: IndexOfUser, intake: Intake, stats: Stats, progress: Progress | None, stop: threading.Event
    ) -> None:
        self._index = index
        self._intake = intake
        self._stats = stats
        self._progress = progress
        self._stop = stop
        self._n_seen = 0
        self._n_twice = 0
        self._n_probes = 0
        self._share = 0.0
        self._told_at = 0.0

    def coverage(self) -> Coverage:
        """Look until the counts agree, at most three times, and say how they stand."""
        before = self._stats.count
        for look in range(LOOKS):
            if look:
                self._pause(BETWEEN_LOOKS_S)
                self._intake.start_over()
            self._look()
            after = self._index.stats(self._stop).count
            if after is not None and self._intake.tally().listed < after:
                self._look_again()  # a short list is no proof that a face is gone
            tally = self._intake.tally()
            if self._index.is_pod or self._agree(tally, before, after) or look + 1 == LOOKS:
                break
            before = after
        return self._in_words(tally, before, after)

    # --- looking -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._n_seen = self._n_twice = 0
        with self._threads() as threads:
            if not self._index.is_pod:
                if self._index.part.user_field:
                    self._receive_owned(threads)
                else:
                    self._receive_listed(threads, self._index.listed(self._stop))
            if self._index.is_pod:  # it may have turned out just now
                self._receive_listed(threads, self._probes())
        if self._index.is_pod and self._stats.count is None:
            self._look_again()

    def _probes(self) -> Iterator[list[str]]:
        for found in self._index.probed(self._stats.dimension, self._stop):
            self._n_probes += 1
            yield found

    def _look_again(self) -> None:
        """Ask for each face that is here and was not listed: those that come are there all the same."""
        after = ""
        while ids := self._intake.unlisted(after, PAGE):
            after = ids[-1]
            page, _ = self._fetched(ids)
            self._intake.note(page.ids)
            self._take(page)
            self._tell()

    def _receive_owned(self, threads: ThreadPoolExecutor) -> None:
        """Records that a metadata field selects come with their vectors; there are no ids to list."""
        pages = self._index.owned(self._stop)
        while (records := self._awaited(threads.submit(next, pages, None))) is not None:
            new = set(self._noted([record.id for record in records], must_be_new=True))
            self._take(checked_page([record for record in records if record.id in new], self._stats.dimension))

    def _receive_listed(self, threads: ThreadPoolExecutor, pages: Iterator[list[str]]) -> None:
        """List in one thread and fetch in the others; listing waits where fetching cannot keep up."""
        listing: Future[list[str] | None] | None = threads.submit(next, pages, None)
        fetching: set[Future[tuple[CheckedPage, int]]] = set()
        wanted: list[str] = []
        is_listed = False
        while listing is not None or fetching:
            running: list[Future[Any]] = [*fetching, *([listing] if listing is not None else [])]
            wait(running, _TELL_S, FIRST_COMPLETED)
            self._tell()
            # What came is kept before a failure is told.
            for future in sorted((one for one in fetching if one.done()), key=lambda one: one.exception() is not None):
                fetching.remove(future)
                self._take(future.result()[0])
            page: list[str] | None = None
            if listing is not None and listing.done():
                page = listing.result()
                listing, is_listed = None, page is None
            if listing is None and not is_listed and len(wanted) < AHEAD * PAGE:
                listing = threads.submit(next, pages, None)  # on its way while this page is looked through
            if page:
                wanted += self._intake.wanted(self._noted(page, must_be_new=not self._index.is_pod))
            self._send(threads, fetching, wanted, is_listed)

    def _send(
        self,
        threads: ThreadPoolExecutor,
        fetching: set[Future[tuple[CheckedPage, int]]],
        wanted: list[str],
        is_listed: bool,
    ) -> None:
        """Send whole portions of the wanted ids off, and the last one once all are listed."""
        while len(fetching) < AHEAD and (len(wanted) >= PAGE or (wanted and is_listed)):
            some = next(in_addresses(wanted))
            del wanted[: len(some)]
            fetching.add(threads.submit(self._fetched, some))

    def _fetched(self, ids: Sequence[str]) -> tuple[CheckedPage, int]:
        records = self._index.fetched(ids, self._stop)
        return checked_page(records, self._stats.dimension), len(ids) - len(records)

    def _noted(self, ids: Sequence[str], must_be_new: bool) -> list[str]:
        """Ids that were not listed before in this look and can be fetched."""
        new = self._intake.note(ids)
        self._n_seen += len(new)
        self._n_twice += len(ids) - len(new)
        if must_be_new and ids and not new:
            raise StoreDataError("Pinecone lists the same faces again and again. The list was not followed further.")
        bad = [Refusal(face, bad_id(face) or "its id is not ASCII") for face in new if not _is_usable(face)]
        self._intake.refuse(bad)
        return [face for face in new if _is_usable(face)] if bad else new

    def _take(self, page: CheckedPage) -> None:
        self._intake.receive(page.batch)
        self._intake.refuse(page.refused, page.n_pictureless)

    # --- telling -------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Say how far it is; raises where the work was cancelled."""
        if self._progress is None or time.monotonic() - self._told_at < _TELL_S:
            return
        self._told_at = time.monotonic()
        there = self._stats.count
        if there:  # never less than before, when the index is listed once more
            self._share = max(self._share, min(self._n_seen / there, 1.0))
        of_all = f" of {there:,}" if there else ""
        self._progress(0.95 * self._share, f"Read {self._n_seen:,}{of_all} faces")

    def _awaited(self, future: Future[_T]) -> _T:
        while not wait([future], _TELL_S).done:
            self._tell()
        self._tell()
        return future.result()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._tell()
            time.sleep(min(_TELL_S, seconds))

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        """Threads that end with the block; on the way out of a failure none of them begins anything new."""
        with ThreadPoolExecutor(THREADS + 1, thread_name_prefix="pinecone") as threads:
            try:
                yield threads
            except BaseException:
                self._stop.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    # --- counting ------------------------------------------------------------------------------------------------

    def _agree(self, tally: Tally, before: int | None, after: int | None) -> bool:
        is_read = tally.here + tally.refused + tally.blocked == tally.listed and not self._n_twice
        return is_read and (after is None or before == after == tally.listed)

    def _in_words(self, tally: Tally, before: int | None, after: int | None) -> Coverage:
        is_complete = not self._index.is_pod and self._agree(tally, before, after)
        if self._index.is_pod:
            there = None if after is None else max(after, tally.listed)
        else:
            there = tally.listed if is_complete else max(tally.listed, after or 0)
        missing = tally.listed - tally.here - tally.refused - tally.blocked
        reasons = ", ".join(f"{refusal.face[:80]!r} ({refusal.reason})" for refusal in tally.reasons)
        more = " and others" if tally.refused > len(tally.reasons) else ""
        elsewhere = ", ".join(repr(name) for name in self._stats.elsewhere[:5])
        said = {
            f"The namespace {self._index.part.namespace or '__default__'!r} is empty; these hold faces: {elsewhere}. "
            "Set PINECONE_NAMESPACE.": bool(elsewhere) and not tally.listed,
            f"This is a pod index, which cannot list its faces: {self._n_probes:,} searches found these, and there may "
            "be more. A serverless index can list them.": self._index.is_pod,
            f"It listed {tally.listed:,} faces, and counted {before or 0:,} before and {after or 0:,} after that: its "
            "counts lag behind writes, or it is being written to. Fetch again in some minutes.": not self._index.is_pod
            and after is not None
            and not before == after == tally.listed,
            f"{missing:,} of the faces that it listed were not there when they were asked for.": missing > 0,
            f"{self._n_twice:,} ids were listed twice.": self._n_twice > 0 and not self._index.is_pod,
            f"{tally.refused:,} faces cannot be used: {reasons}{more}.": tally.refused > 0,
            f"{tally.blocked:,} faces were left out: they are of people who were erased and may not come back. Delete "
            "them at the source.": tally.blocked > 0,
            f"{tally.pictureless:,} faces came with a picture that cannot be shown.": tally.pictureless > 0,
        }
        return Coverage(tally.here, there, is_complete, " ".join(text for text, is_so in said.items() if is_so))


def _is_usable(face: str) -> bool:
    return writable(face) and not bad_id(face)
