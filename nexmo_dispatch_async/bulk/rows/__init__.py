"""From a file or an iterable to recipients and rejects."""
