"""What may go wrong with a space on NATS JetStream under a store, each finding with its cure.

It changes nothing, and makes no stream.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from nexmo_dispatch_core.findings import Finding, bad, good, warning
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.durability import all_sync_always
from nexmo_dispatch_core.jetstream.failures import STREAM_MISSING, RefusedError

__all__ = ["examine"]

#: The version from which a cluster syncs its log in groups.
_ADVISED: Final = (2, 15)
#: Seconds that the clocks may differ.
_SKEW: Final = 2.0
#: The part of a limit from which it is a finding.
_NEARLY: Final = 0.8
#: By the kind of a store the names of its streams, and whether a lost write messages a person twice.
_STREAMS: Final = {
    "{}_inbox": False,
    "KV_{}_inbox": False,
    "KV_{}_tracking": False,
    "{}_campaigns": True,
}


class _Error(Struct):
    err_code: int = 0
    code: int = 0


class _State(Struct):
    bytes: int = 0


class _Config(Struct):
    num_replicas: int = 1
    max_bytes: int = -1


class _Peer(Struct):
    current: bool = False
    offline: bool = False


class _Cluster(Struct):
    replicas: list[_Peer] = []


class _Info(Struct):
    config: _Config = msgspec.field(default_factory=_Config)
    state: _State = msgspec.field(default_factory=_State)
    cluster: _Cluster | None = None
    ts: str = ""
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Info).decode


async def examine(connection: Connection, *, clock: Callable[[], float] = time.time) -> list[Finding]:
    """Look at the servers and the streams of a space.

    Args:
        connection: Open.
        clock: Gives epoch seconds.

    Raises:
        Exception: Of the package: the servers cannot be reached, or the user may not read streams.
    """
    found = [_version(connection.version), _cluster(connection), await _sync(connection)]
    skews: list[float] = []
    for pattern, doubles in _STREAMS.items():
        name = pattern.format(connection.space)
        before = clock()
        info = await connection.attempt(partial(_info, connection, name))
        after = clock()
        if info is None:
            continue
        found += _stream(name, info, doubles=doubles)
        if info.ts:
            skews.append(dt.datetime.fromisoformat(info.ts).timestamp() - (before + after) / 2)
    if not skews:
        text = f"there are no streams of {connection.space} yet: stores make them when they begin"
        return [*found, good("nats-streams", text)]
    return [*found, _clock(max(skews, key=abs))]


async def _info(connection: Connection, name: str) -> _Info | None:
    info = _decode(await connection.request(f"$JS.API.STREAM.INFO.{name}"))
    if info.error is None:
        return info
    if info.error.err_code == STREAM_MISSING:
        return None
    raise RefusedError(info.error.err_code, info.error.code)


def _version(version: str) -> Finding:
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    text = f"the server is nats-server {version}"
    if numbers < _ADVISED:
        cure = "upgrade it to 2.15 or later, which writes the log of a cluster in groups"
        return warning("nats-version", f"{text}: with `sync_interval: always` it is slow", cure)
    return good("nats-version", text)


def _cluster(connection: Connection) -> Finding:
    if connection.clustered:
        return good("nats-cluster", "the server belongs to a cluster")
    return warning(
        "nats-cluster",
        "there is one server: while it is away nothing is taken in or sent, and with its disk all is lost",
        "run three servers in three zones, and name all of them in the URL",
    )


async def _sync(connection: Connection) -> Finding:
    synced = await all_sync_always(connection.monitors, 3 if connection.clustered else 1)
    if synced:
        return good(
            "nats-sync", "each write is on the disk before it is acknowledged (sync_interval: always)"
        )
    if synced is False:
        return bad(
            "nats-sync",
            "sync_interval is not `always`: a power failure loses what was acknowledged within two minutes, "
            "and a lost `sending` messages a person twice",
            "set `sync_interval: always` in the jetstream block of each server",
        )
    return warning(
        "nats-sync",
        "it is not known whether each write is on the disk before it is acknowledged: no client can see it",
        "name the monitoring ports of all servers in the URL: ?monitor=http://one:8222,http://two:8222",
    )


def _stream(name: str, info: _Info, *, doubles: bool) -> list[Finding]:
    replicas = info.config.num_replicas
    found: list[Finding] = []
    if replicas < 3:
        text = f"the stream {name} has {replicas} replica(s): with a disk its messages are lost"
        cure = f"give it three: nats stream update {name} --replicas 3"
        found.append(bad("nats-replicas", text, cure) if doubles else warning("nats-replicas", text, cure))
    else:
        found.append(good("nats-replicas", f"the stream {name} has {replicas} replicas"))
    peers = info.cluster.replicas if info.cluster is not None else []
    behind = sum(not peer.current or peer.offline for peer in peers)
    if behind:
        text = f"{behind} replica(s) of the stream {name} are not up to date: one more failure may stop it"
        found.append(warning("nats-behind", text, "see to the servers that lag: nats stream info " + name))
    limit = info.config.max_bytes
    if 0 < limit < info.state.bytes / _NEARLY:
        text = f"the stream {name} is nearly full: {info.state.bytes} of {limit} bytes (max_bytes)"
        cure = f"raise it: nats stream update {name} --max-bytes {2 * limit}"
        found.append(warning("nats-full", text, cure))
    elif limit > 0:
        found.append(good("nats-full", f"the stream {name} has room: {info.state.bytes} of {limit} bytes"))
    return found


def _clock(skew: float) -> Finding:
    if abs(skew) <= _SKEW:
        return good("nats-clock", "the clock of the server agrees with this one")
    text = f"the clock of the server is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this one"
    cure = "let NTP set both clocks: retention, quiet hours and rates go by them"
    return warning("nats-clock", text, cure)
