"""What both packages need of Postgres, on a real server."""
