# SPDX-License-Identifier: Apache-2.0
"""SQLite files whose transactions survive a power cut: one way to open them, for ledger, outbox and journals.

Guards: a transaction that was committed is on the disk (write-ahead log, fsynced at each commit), and so is the name of
a file that was made just now. Leaves to others: tables, transactions, and what an error means to the user.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from assay.backends.durable_file import make_folder, sync_folder


def open_database(path: Path, *, wait_s: float) -> sqlite3.Connection:
    """The database in the file `path`, made if missing; transactions begin when the caller says BEGIN.

    `wait_s`: seconds to wait for another process's transaction. Raises `sqlite3.Error`, `OSError`.
    """
    make_folder(path.parent)
    is_new = not path.exists()
    connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if is_new:
            sync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection
