"""The sending loop: pace, quiet hours, safety, and the result of each POST."""
