"""The storage of a campaign: one row per recipient with its state, the opt-out list, and their stores."""
