"""What both packages need of Postgres: connections, versions of tables, notifications, what errors mean.

Private. It holds no table of its own but the versions, and knows no event, workflow or campaign. psycopg is
imported here only, with the extra `postgres`: it is typed, runs behind every PgBouncer since it needs no
prepared statements, and costs about as much per row as asyncpg when rows go in groups.
"""
