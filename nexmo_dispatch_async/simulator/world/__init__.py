"""What the simulated service knows: people, applications, tokens, time, faults and what has happened."""
