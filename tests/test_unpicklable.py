"""What holds connections, tasks or files is neither pickled nor copied, and says what to do instead."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.tracking import Tracker


def client() -> DispatchClient:
    return DispatchClient(auth=KpnOAuth("id", "very-secret"), application_id="app")


MADE: dict[str, Callable[[], object]] = {
    "DispatchClient": client,
    "Applications": lambda: client().applications,
    "FanOut": lambda: client().send_many([]),
    "Tracker": Tracker,
    "Simulator": Simulator,
}


@pytest.mark.parametrize("clone", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("name", MADE)
def test_what_belongs_to_its_process_says_so(name: str, clone: Callable[[Any], object]) -> None:
    """A pool of processes pickles its arguments: the error names the object and the cure, and no secret."""
    expected = rf"^a {name} can be neither pickled nor copied: .* Make a {name} in each process"

    with pytest.raises(ConfigurationError, match=expected) as caught:
        clone(MADE[name]())

    assert "secret" not in str(caught.value)
