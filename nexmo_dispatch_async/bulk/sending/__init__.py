"""The loop that sends: pace, quiet hours, safety, and what became of each POST."""
