"""What is stored of a campaign: a row per recipient, its states, people, and the stores that keep them."""
