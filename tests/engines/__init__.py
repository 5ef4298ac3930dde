"""Real servers of databases and real processes, killed, suspended and cut off."""
