"""The report of a campaign: figures, pictures and one page."""
