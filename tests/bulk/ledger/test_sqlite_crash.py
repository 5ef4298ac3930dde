"""The process dies, or the power fails, at any moment: promises are kept, and no one is messaged twice."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bulk.promises import assert_kept, assert_no_row_twice
from tests.support import power_loss
from tests.support.ledger_process import ROWS
from tests.support.power_loss import Disk

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-m", "tests.support.ledger_process"]
KILLS = int(os.environ.get("LEDGER_KILLS", "16"))
LOSSES = int(os.environ.get("LEDGER_LOSSES", "40"))


def said(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_killed_between_any_two_statements(tmp_path: Path) -> None:
    """SIGKILL before a statement or a commit of the writer: unknown are at most those in flight."""
    points = sorted(random.Random(7).sample(range(2, 800), KILLS))
    command = [*PROGRAM, "crash", str(tmp_path), *map(str, points)]

    done = await asyncio.to_thread(
        subprocess.run, command, check=True, timeout=100, cwd=ROOT, capture_output=True, text=True
    )

    assert done.stdout.count("killed") == KILLS
    for point in points:
        name = tmp_path / str(point)
        opt_outs = name.with_suffix(".people") if point % 2 else None
        await assert_kept(name.with_suffix(".db"), said(name.with_suffix(".log")), opt_outs=opt_outs)


@pytest.mark.timeout(300)
@pytest.mark.skipif(power_loss.strace is None, reason="strace is not installed")
@pytest.mark.parametrize("losses", [LOSSES // 4, pytest.param(5 * LOSSES, marks=pytest.mark.long)])
async def test_power_lost_at_any_moment(tmp_path: Path, losses: int) -> None:
    """Only what was synced is there, or a torn part of the rest as well: no acknowledged state goes back."""
    traced = tmp_path / "traced"
    traced.mkdir()
    log = traced / "said.log"
    command = [*PROGRAM, "run", str(traced / "a.db"), str(log)]
    try:
        events = power_loss.trace(command, tmp_path / "trace")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine does not let processes be traced: {error.stderr[-200:]!r}")
    assert len(said(log)) > ROWS
    assert_no_row_twice(said(log))

    writes = [n for n, event in enumerate(events) if event.path.startswith(str(traced))]
    # Before the guard is written there is no ledger yet, and nothing was promised.
    begun = next(
        n for n, event in enumerate(events) if event.path.endswith("-guard") and event.kind == "sync"
    )
    chosen = random.Random(3).choices([n for n in writes if n > begun], k=losses)
    disk, position = Disk(traced), 0
    for seed, point in enumerate(sorted(chosen)):
        for event in events[position:point]:
            disk.play(event)
        position = point
        folder = tmp_path / f"lost{seed}"
        folder.mkdir()
        for name in ("a.db", "a.db-wal"):
            (folder / name).write_bytes(disk.after_power_loss(name, seed % 3 and seed))
        promised = disk.now("said.log").decode().splitlines()
        await assert_kept(folder / "a.db", promised, restored=True)
