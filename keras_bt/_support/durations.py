"""Durations in words."""


def in_words(seconds: float) -> str:
    """A duration in words.

    Args:
        seconds: At least 0.

    Example:
        >>> in_words(50), in_words(500), in_words(50_000), in_words(5e6)
        ('50 seconds', '8 minutes', '14 hours', '58 days')
    """
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
