"""A customer list of a gigabyte, made while it is read, in the memory of a small one."""

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.rows.intake import Intake
from nexmo_dispatch_async.bulk.settings import Columns
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.channels import sms
from tests.bulk.rows.customer_list import CustomerList

SMALL, LARGE = 2_000, 460_000
# The keys that were seen are counted in a temporary file beyond 200,000 of them; its cache takes 16 MB, and
# that of the addresses the same.
ALLOWED = 100 * 1024 * 1024


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


async def read(blocks: int, folder: Path) -> tuple[int, int]:
    """Read so many blocks from a pipe; returns the bytes that were read and the most memory."""
    pipe = folder / f"{blocks}.csv"
    os.mkfifo(pipe)
    people = CustomerList(blocks, note=200)
    thread = people.feed(pipe)
    template = WorkflowTemplate(sms.text("Hi {name}, {code}", from_="31647356950", to="{phone}"))
    intake = Intake(template, country="GB", columns=Columns(key="id"))
    good, peak, rules, began = 0, 0, Counter[str](), time.monotonic()
    async for rows, rejects in intake.prepared(pipe):
        good += len(rows)
        rules.update(reject.rule for reject in rejects)
        peak = max(peak, resident_bytes())
    thread.join(60)
    assert good == people.good
    assert rules == people.rejects
    seconds = time.monotonic() - began
    size = blocks * len(people._block(0))
    print(f"{size / 1e9:.2f} GB, {blocks * 10:,} rows: {blocks * 10 / seconds:,.0f} rows/s, {peak >> 20} MB")
    return size, peak


@pytest.mark.timeout(3600)
async def test_a_gigabyte_takes_no_more_memory_than_a_megabyte(tmp_path: Path) -> None:
    """Rows, rejects and keys are held nowhere, and each line has its end."""
    _, small = await read(SMALL, tmp_path)
    size, large = await read(LARGE, tmp_path)

    assert size > 1_000_000_000
    assert large - small < ALLOWED
