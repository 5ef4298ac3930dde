"""Closes the gap between aioresponses 0.7.9 and aiohttp 3.14, which wants a `stream_writer` for each answer.

To be deleted when aioresponses is released with a fix of https://github.com/pnuckowski/aioresponses/issues/289.
"""

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import aiohttp
from aioresponses import core


@contextmanager
def patched() -> Iterator[None]:
    """Let aioresponses build answers, whether or not aiohttp asks for a `stream_writer`."""
    if "stream_writer" not in inspect.signature(aiohttp.ClientResponse.__init__).parameters:
        yield
        return
    response = functools.partial(aiohttp.ClientResponse, stream_writer=mock.Mock(output_size=0))
    with mock.patch.object(core, "ClientResponse", response):
        yield
