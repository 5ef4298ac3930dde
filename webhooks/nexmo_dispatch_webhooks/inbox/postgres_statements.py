"""The tables and the SQL of the Postgres store, each statement with the reason for its form.

Every statement is atomic by itself, so that most calls are one round trip and one commit. `_NOW` is the time
of the server unless a clock was passed in. Leases go by `_ALIVE_AT`, the time of the server in any case: all
processes have to agree on it, and a clock that was passed in may jump.
"""

from __future__ import annotations

from typing import Final, LiteralString

from nexmo_dispatch_core.postgres.schema import Component

__all__ = [
    "ADD",
    "AGE",
    "AGED_AT",
    "CLAIM",
    "COLUMNS",
    "COUNT",
    "ENTER",
    "EXTEND",
    "FAILED",
    "FINISH",
    "INBOX",
    "KEEP_ONLY",
    "LEAVE",
    "LIST",
    "LOAD",
    "LOCK",
    "LOCK_LANES",
    "MARK",
    "PENDING",
    "POSTPONE",
    "PRUNE_CONTENTS",
    "PRUNE_KEYS",
    "PURGE",
    "RELEASE",
    "RETRY",
    "SUMMARY",
    "TAKE",
    "TOUCH",
]

# Contents have a table of their own: an update of a row copies it, and bodies are never updated. The partial
# indexes hold pending events only, so they stay small, however many handled events are kept.
INBOX: Final = Component(
    "inbox",
    (
        """
CREATE TABLE nexmo_dispatch.inbox_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    lane bigint NOT NULL,
    state smallint NOT NULL,
    kind text NOT NULL,
    received_at double precision NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due double precision NOT NULL DEFAULT 0,
    done text[] NOT NULL DEFAULT '{}',
    failed jsonb NOT NULL DEFAULT '[]',
    finished_at double precision,
    worker bigint, -- that holds the event, while it is alive
    measured double precision NOT NULL, -- both ages of the inbox at the arrival
    by_clock double precision NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX inbox_lanes ON nexmo_dispatch.inbox_events (lane, id) WHERE state = 0;
CREATE INDEX inbox_pending ON nexmo_dispatch.inbox_events (id) WHERE state = 0;
CREATE INDEX inbox_quarantined ON nexmo_dispatch.inbox_events (id) WHERE state = 1;
CREATE INDEX inbox_handled ON nexmo_dispatch.inbox_events (by_clock, id) WHERE state = 2;
CREATE INDEX inbox_forgotten ON nexmo_dispatch.inbox_events (measured, id) WHERE state = 3;
CREATE TABLE nexmo_dispatch.inbox_contents (
    id bigint PRIMARY KEY, path bytea NOT NULL, claims bytea NOT NULL, body bytea NOT NULL
);
-- one row for each process that handles events; its number is the fencing token of what it holds
CREATE TABLE nexmo_dispatch.inbox_workers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, until double precision NOT NULL
);
-- one row: the ages of the inbox, and the process that keeps house
CREATE TABLE nexmo_dispatch.inbox_ages (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    measured double precision NOT NULL DEFAULT 0,
    by_clock double precision NOT NULL DEFAULT 0,
    aged_at double precision,
    keeper text NOT NULL DEFAULT '',
    keeper_until double precision NOT NULL DEFAULT 0
);
INSERT INTO nexmo_dispatch.inbox_ages DEFAULT VALUES;
""",
    ),
)

_NOW: Final[LiteralString] = "coalesce(%(now)s, extract(epoch FROM clock_timestamp()))::double precision"
_ALIVE_AT: Final[LiteralString] = (
    "coalesce(%(alive_at)s, extract(epoch FROM clock_timestamp()))::double precision"
)

# One statement for a group of events. Events of one lane are committed in the order of their ids: a lock of
# the lane, taken before the id and held to the end of the transaction, sees to it. Locks are taken in
# ascending order, so that two groups never wait for each other.
ADD: Final[LiteralString] = """
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(lane) FROM unnest(%(locks)s::bigint[]) AS lane
), given AS MATERIALIZED (
    SELECT * FROM unnest(
        %(keys)s::bytea[], %(lanes)s::bigint[], %(states)s::smallint[], %(kinds)s::text[],
        %(received)s::double precision[], %(paths)s::bytea[], %(claims)s::bytea[], %(bodies)s::bytea[]
    ) WITH ORDINALITY AS given (key, lane, state, kind, received_at, path, claims, body, number)
    WHERE (SELECT count(*) FROM locked) >= 0
), new AS (
    INSERT INTO nexmo_dispatch.inbox_events (key, lane, state, kind, received_at, measured, by_clock)
    SELECT key, lane, state, kind, received_at, ages.measured, ages.by_clock
    FROM given, nexmo_dispatch.inbox_ages AS ages ORDER BY number
    ON CONFLICT (key) DO NOTHING RETURNING id, key
), contents AS (
    INSERT INTO nexmo_dispatch.inbox_contents (id, path, claims, body)
    SELECT DISTINCT ON (new.id) new.id, path, claims, body FROM new JOIN given USING (key)
    ORDER BY new.id, number
)
SELECT key, id FROM new
"""

# An event is free when no living worker holds it. The first free events of the lanes that no other worker
# handles, and what follows each of them: a worker that holds the first event of a lane may hold the next
# ones too, since it handles them in order.
# A worker that is dead takes nothing: others would have the same events at once.
# Other workers may write the same rows at the same instant. So whether a worker lives is asked with a scalar
# subquery, which is asked again of a row that changed meanwhile (a join is not); all chosen rows are locked
# before any is taken; and of a lane only those are taken in front of which no row was written since all were
# chosen (`xmin`): what is behind an event must not be taken without it.
_ALIVE: Final[LiteralString] = (
    "coalesce((SELECT w.until > clock.alive_at FROM nexmo_dispatch.inbox_workers AS w"
    " WHERE w.id = {0}.worker), false)"
)
TAKE: Final[LiteralString] = f"""
WITH clock AS MATERIALIZED (SELECT {_NOW} AS now, {_ALIVE_AT} AS alive_at), first AS MATERIALIZED (
    SELECT e.id, e.lane FROM clock, nexmo_dispatch.inbox_events AS e
    WHERE e.state = 0 AND e.due <= clock.now AND NOT e.kind = ANY(%(kinds)s::text[])
    AND EXISTS (
        SELECT 1 FROM nexmo_dispatch.inbox_workers AS w WHERE w.id = %(worker)s AND w.until > clock.alive_at
    )
    AND NOT {_ALIVE.format("e")}
    AND NOT EXISTS (
        SELECT 1 FROM nexmo_dispatch.inbox_events AS o
        WHERE o.lane = e.lane AND o.state = 0 AND o.id <> e.id
        AND o.worker IS DISTINCT FROM %(worker)s AND (o.id < e.id OR {_ALIVE.format("o")})
    )
    ORDER BY e.id LIMIT %(limit)s FOR UPDATE OF e SKIP LOCKED
), run AS (
    SELECT f.id, first.lane, f.place, f.seen FROM first, clock, LATERAL (
        SELECT n.id, n.seen, row_number() OVER upward AS place,
            bool_and(n.due <= clock.now AND NOT {_ALIVE.format("n")}) OVER upward AS free
        FROM (
            SELECT id, due, worker, xmin AS seen FROM nexmo_dispatch.inbox_events
            WHERE lane = first.lane AND state = 0 AND id >= first.id ORDER BY id LIMIT %(run)s
        ) AS n WINDOW upward AS (ORDER BY n.id)
    ) AS f WHERE f.free
), chosen AS MATERIALIZED (
    SELECT id, lane, seen FROM run ORDER BY place, id LIMIT %(limit)s
), held AS MATERIALIZED (
    SELECT id, xmin AS now FROM nexmo_dispatch.inbox_events
    WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND state = 0 FOR UPDATE SKIP LOCKED
), whole AS (
    SELECT id, bool_and(coalesce(held.now = seen, false)) OVER (PARTITION BY lane ORDER BY id) AS whole
    FROM chosen LEFT JOIN held USING (id)
), taken AS (
    UPDATE nexmo_dispatch.inbox_events AS e SET worker = %(worker)s
    FROM whole WHERE e.id = whole.id AND whole.whole
    RETURNING e.id, e.lane, e.state, e.kind, e.received_at, e.attempts, e.due, e.done, e.failed, e.finished_at
)
SELECT taken.*, path, claims, length(body), body
FROM taken LEFT JOIN nexmo_dispatch.inbox_contents USING (id) ORDER BY taken.id
"""

ENTER: Final[LiteralString] = (
    f"INSERT INTO nexmo_dispatch.inbox_workers (until) VALUES ({_ALIVE_AT} + %(lease)s) RETURNING id"
)
# a worker that comes too late is dead: others may have its events, and its number is not used again
EXTEND: Final[LiteralString] = (
    f"UPDATE nexmo_dispatch.inbox_workers SET until = {_ALIVE_AT} + %(lease)s"
    f" WHERE id = %(worker)s AND until > {_ALIVE_AT}"
)
LEAVE: Final[LiteralString] = "DELETE FROM nexmo_dispatch.inbox_workers WHERE id = %(worker)s"
RELEASE: Final[LiteralString] = (
    "UPDATE nexmo_dispatch.inbox_events SET worker = NULL"
    " WHERE id = ANY(%(ids)s) AND state = 0 AND worker = %(worker)s"
)
KEEP_ONLY: Final[LiteralString] = (
    "UPDATE nexmo_dispatch.inbox_events SET worker = NULL"
    " WHERE state = 0 AND worker = %(worker)s AND NOT id = ANY(%(ids)s)"
)

# A mark counts only for the worker that holds the event: one that slept past its lease marks nothing.
FINISH: Final[LiteralString] = f"""
UPDATE nexmo_dispatch.inbox_events AS e
SET state = 2, finished_at = {_NOW}, due = 0, failed = '[]', worker = NULL
FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS mark (id, token)
WHERE e.id = mark.id AND e.state < 2 AND (e.worker = mark.token OR mark.token = 0)
RETURNING e.id
"""
LOCK: Final[LiteralString] = (
    "SELECT 1 FROM nexmo_dispatch.inbox_events WHERE id = %(id)s AND state = 0"
    " AND (worker = %(token)s OR %(token)s = 0) AND NOT %(handler)s = ANY(done) FOR UPDATE"
)
MARK: Final[LiteralString] = f"""
UPDATE nexmo_dispatch.inbox_events SET done = done || ARRAY[%(handler)s::text],
    state = CASE WHEN %(finish)s THEN 2 ELSE 0 END,
    finished_at = CASE WHEN %(finish)s THEN {_NOW} END,
    worker = CASE WHEN %(finish)s THEN NULL ELSE worker END
WHERE id = %(id)s AND state = 0 AND (worker = %(token)s OR %(token)s = 0) AND NOT %(handler)s = ANY(done)
"""
POSTPONE: Final[LiteralString] = f"""
UPDATE nexmo_dispatch.inbox_events
SET state = CASE WHEN %(due)s::double precision IS NULL THEN 1 ELSE 0 END,
    attempts = %(attempts)s, done = done || array(
        SELECT name FROM unnest(%(done)s::text[]) WITH ORDINALITY AS names(name, place)
        WHERE name <> ALL(done) ORDER BY place
    ), failed = %(failed)s::jsonb, worker = NULL,
    due = coalesce(%(due)s::double precision - %(told)s + {_NOW}, 0)
WHERE id = %(id)s AND state < 2 AND (worker = %(token)s OR %(token)s = 0)
"""

PENDING: Final[LiteralString] = (
    "SELECT id, lane, received_at, attempts, due, done, kind FROM nexmo_dispatch.inbox_events"
    " WHERE state = 0 ORDER BY id LIMIT %(limit)s"
)
COLUMNS: Final[LiteralString] = (
    "e.id, e.lane, e.state, e.kind, e.received_at, e.attempts, e.due, e.done, e.failed, e.finished_at,"
    " c.path, c.claims, length(c.body)"
)
_BOTH: Final[LiteralString] = (
    "nexmo_dispatch.inbox_events AS e LEFT JOIN nexmo_dispatch.inbox_contents AS c USING (id)"
)
LOAD: Final[LiteralString] = f"SELECT {COLUMNS}, c.body FROM {_BOTH} WHERE e.id = %(id)s"
LIST: Final[LiteralString] = (
    f"SELECT {COLUMNS}, NULL FROM {_BOTH}"
    " WHERE e.state = ANY(%(states)s::smallint[]) AND e.id > %(after)s ORDER BY e.id LIMIT %(limit)s"
)
# A retry puts an event before others of its lane, which a worker may be taking at this instant. So one
# transaction keeps new events out of the lanes, makes the event pending, and writes the events that no living
# worker holds: a claim that has begun then takes none of them, or has ended and is seen by all others.
FAILED: Final[LiteralString] = """
SELECT id, lane FROM nexmo_dispatch.inbox_events
WHERE state < 2 AND (state = 1 OR due > 0) AND id > %(after)s
AND (%(id)s::bigint IS NULL OR id = %(id)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
AND (
    %(handler)s::text IS NULL
    OR failed @> jsonb_build_array(jsonb_build_object('handler', %(handler)s::text))
)
ORDER BY id LIMIT %(piece)s
"""
LOCK_LANES: Final[LiteralString] = (
    "SELECT pg_advisory_xact_lock(lane) FROM unnest(%(lanes)s::bigint[]) AS lane"
)
RETRY: Final[LiteralString] = """
UPDATE nexmo_dispatch.inbox_events SET state = 0, attempts = 0, due = 0, failed = '[]'
WHERE id = ANY(%(ids)s) AND state < 2 AND (state = 1 OR due > 0)
"""
TOUCH: Final[LiteralString] = f"""
WITH clock AS MATERIALIZED (SELECT {_ALIVE_AT} AS alive_at)
UPDATE nexmo_dispatch.inbox_events AS e SET due = e.due FROM clock
WHERE e.state = 0 AND e.lane = ANY(%(lanes)s) AND NOT e.id = ANY(%(ids)s) AND NOT {_ALIVE.format("e")}
"""
SUMMARY: Final[LiteralString] = """
SELECT state, kind, f ->> 'handler', f ->> 'error', count(*), min(received_at)
FROM nexmo_dispatch.inbox_events LEFT JOIN LATERAL jsonb_array_elements(failed) AS f ON true
WHERE state < 2 AND (state = 1 OR f IS NOT NULL) GROUP BY 1, 2, 3, 4
"""
COUNT: Final[LiteralString] = """
SELECT (SELECT count(*) FROM nexmo_dispatch.inbox_events WHERE state = 0),
    (SELECT count(*) FROM nexmo_dispatch.inbox_events WHERE state = 1),
    (SELECT received_at FROM nexmo_dispatch.inbox_events WHERE state = 0 ORDER BY id LIMIT 1),
    (SELECT count(*) FROM nexmo_dispatch.inbox_events WHERE state = 0 AND due > 0)
"""

# What is forgotten goes in pieces, so that no piece holds locks for long.
_FORGET: Final[LiteralString] = """
chosen AS MATERIALIZED ({0}), gone AS (
    DELETE FROM nexmo_dispatch.inbox_contents AS c USING chosen WHERE c.id = chosen.id
), changed AS (
    UPDATE nexmo_dispatch.inbox_events AS e SET state = 3, lane = 0, done = '{{}}', failed = '[]'
    FROM chosen WHERE e.id = chosen.id RETURNING e.id
)
"""
PURGE: Final[LiteralString] = (
    "WITH "
    + _FORGET.format(
        "SELECT id FROM nexmo_dispatch.inbox_events"
        " WHERE state = ANY(%(states)s::smallint[]) AND id > %(after)s"
        " AND (%(id)s::bigint IS NULL OR id = %(id)s)"
        " AND (%(before)s::double precision IS NULL OR received_at < %(before)s)"
        " ORDER BY id LIMIT %(piece)s FOR UPDATE"
    )
    + "SELECT count(*), max(id) FROM changed"
)
PRUNE_CONTENTS: Final[LiteralString] = (
    """
WITH ages AS MATERIALIZED (
    SELECT measured, by_clock FROM nexmo_dispatch.inbox_ages
), old AS MATERIALIZED (
    SELECT id FROM nexmo_dispatch.inbox_events
    WHERE state = 2 AND by_clock <= (SELECT by_clock FROM ages) - %(handled)s
    ORDER BY by_clock, id LIMIT %(piece)s FOR UPDATE SKIP LOCKED
), left_alone AS MATERIALIZED (
    SELECT id FROM nexmo_dispatch.inbox_events
    WHERE state = 1 AND measured <= (SELECT measured FROM ages) - %(quarantined)s
    ORDER BY id LIMIT %(piece)s FOR UPDATE SKIP LOCKED
), """
    + _FORGET.format("SELECT id FROM old UNION ALL SELECT id FROM left_alone")
    + "SELECT count(*) FROM changed"
)
PRUNE_KEYS: Final[LiteralString] = """
DELETE FROM nexmo_dispatch.inbox_events WHERE id = ANY(ARRAY(
    SELECT id FROM nexmo_dispatch.inbox_events WHERE state = 3
    AND measured <= (SELECT measured FROM nexmo_dispatch.inbox_ages) - %(keys)s
    ORDER BY measured, id LIMIT %(piece)s FOR UPDATE SKIP LOCKED
))
"""
AGED_AT: Final[LiteralString] = "SELECT aged_at FROM nexmo_dispatch.inbox_ages"
AGE: Final[LiteralString] = (
    "UPDATE nexmo_dispatch.inbox_ages SET measured = measured + %(measured)s,"
    " by_clock = by_clock + %(by_clock)s, aged_at = %(epoch)s"
)
CLAIM: Final[LiteralString] = (
    f"UPDATE nexmo_dispatch.inbox_ages SET keeper = %(keeper)s, keeper_until = {_ALIVE_AT} + %(lease)s"
    f" WHERE keeper = %(keeper)s OR keeper_until < {_ALIVE_AT}"
)
