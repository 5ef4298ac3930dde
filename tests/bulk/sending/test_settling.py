"""A ledger that fails is tried again, unless another try is of no use."""

from __future__ import annotations

import pytest

from nexmo_dispatch_async.bulk.sending.settling import StoreFailures
from nexmo_dispatch_async.exceptions import LedgerCopiedError, LedgerError, LedgerInUseError


@pytest.mark.parametrize("error", [LedgerInUseError("in use"), LedgerCopiedError("a copy")])
def test_a_ledger_that_must_not_be_sent_from_is_not_tried_again(error: LedgerError) -> None:
    """Another process sends from it, or from its original: only an operator can change that."""
    with pytest.raises(type(error)):
        StoreFailures().pause(error)
    assert StoreFailures().pause(LedgerError("the disk is full")) > 0
