"""The file of a store on SQLite for `nexmo-dispatch doctor`: its rights, its disk, and what waits in it.

It changes nothing, makes no file, and holds up no process that uses the file.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from nexmo_dispatch_async.bulk.ledger import opt_outs_sql, sqlite_file
from nexmo_dispatch_core.file_failures import companions_of, obstacle_of, reason_of
from nexmo_dispatch_core.findings import Finding, bad, good, warning
from nexmo_dispatch_webhooks.inbox import sqlite_statements
from nexmo_dispatch_webhooks.inbox.sqlite_file import APPLICATION_ID as INBOX

__all__ = ["examine_file"]

#: Bytes below which a disk is nearly full.
_LITTLE_ROOM: Final = 64 * 1024**2
#: Seconds after which an event should be handled.
_LONG: Final = 60.0
#: Seconds to wait for a lock: only the first process that opens a file holds one that readers wait for.
_PATIENCE: Final = 1.0
_KINDS: Final = {
    INBOX: "an inbox",
    sqlite_file.APPLICATION_ID: "the ledger of a campaign",
    opt_outs_sql.APPLICATION_ID: "an opt-out list",
}


def examine_file(path: Path, now: float) -> list[Finding]:
    """Look at a file.

    Args:
        path: The file.
        now: Epoch seconds.
    """
    if obstacle := obstacle_of(path):
        return [bad("sqlite-access", f"{path.name} cannot be used: {obstacle}", "as the text says")]
    if not path.exists():
        cure = "correct the path, or start the process that uses it, which makes it"
        return [warning("sqlite-missing", f"there is no file {path.name} in its folder yet", cure)]
    access = good("sqlite-access", f"this user may write {path.name} and its folder")
    findings = [_owners(path) or access, _room(path)]
    try:
        with closing(_opened(path)) as db:
            return findings + _contents(db, path.name, now)
    except sqlite3.Error as error:
        return [
            *findings,
            bad("sqlite-kind", f"{path.name} cannot be read: {reason_of(path, error)}", "as the text says"),
        ]


def _owners(path: Path) -> Finding | None:
    """Find companions of another owner: root may use all of them, and the process of the owner may not."""
    owner = path.stat().st_uid
    others = [each.name for each in companions_of(path) if each.exists() and each.stat().st_uid != owner]
    if not others:
        return None
    text = f"{', '.join(others)} of {path.name} do not belong to its owner (uid {owner})"
    cure = f"chown {owner} them, and run commands as the user of the service, not as root"
    return bad("sqlite-owner", text, cure)


def _room(path: Path) -> Finding:
    free = shutil.disk_usage(path.resolve().parent).free
    if free < _LITTLE_ROOM:
        text = f"the disk of {path.name} has {free // 1024**2} MiB left"
        return warning("sqlite-room", text, "make room: without any, nothing is stored or sent")
    return good("sqlite-room", f"the disk of {path.name} has {free // 1024**2} MiB left")


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file for reading; where no log is, no process has the file open, and no log is made."""
    real = path.resolve()
    mode = "mode=ro" if real.with_name(f"{real.name}-wal").exists() else "immutable=1"
    return sqlite3.connect(
        f"file:{quote(str(real))}?{mode}", uri=True, timeout=_PATIENCE, isolation_level=None
    )


def _contents(db: sqlite3.Connection, name: str, now: float) -> list[Finding]:
    (kind,) = db.execute("PRAGMA application_id").fetchone()
    if kind not in _KINDS:
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        what = "a database of tracking, of a care window, or of another program" if tables else "empty"
        return [good("sqlite-kind", f"{name} is {what}")]
    found = [good("sqlite-kind", f"{name} is {_KINDS[kind]}")]
    if kind != INBOX:
        return found
    counts = sqlite_statements.count(db)
    command = f"nexmo-dispatch inbox summary {name}"
    lag = 0.0 if counts.oldest is None else max(0.0, now - counts.oldest)
    events = (
        "1 event waits for a handler" if counts.pending == 1 else f"{counts.pending} events wait for handlers"
    )
    waiting = f"{events}, the oldest for {lag:.0f} s"
    if lag > _LONG:
        cure = f"see whether a process handles them, and which handler fails: {command}"
        found.append(warning("inbox-lag", waiting, cure))
    else:
        found.append(good("inbox-lag", waiting if counts.pending else "no event waits for a handler"))
    if counts.quarantined:
        records = "1 record is" if counts.quarantined == 1 else f"{counts.quarantined} records are"
        text = f"{records} in quarantine: a handler failed, or the body is no JSON object"
        cure = f"{command} names the handler: mend it, then nexmo-dispatch inbox retry {name} all"
        return [*found, warning("inbox-quarantined", text, cure)]
    return [*found, good("inbox-quarantined", "no record is in quarantine")]
