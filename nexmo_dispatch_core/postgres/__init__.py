"""Postgres for both packages: connections, versions of tables, notifications, and errors.

Private. Its only table holds the versions of the others; it knows nothing of events, workflows or campaigns.
psycopg is imported only here, with the extra `postgres`. It is typed, works behind every PgBouncer because it
needs no prepared statements, and costs about as much per row as asyncpg when rows are sent in groups.
"""
