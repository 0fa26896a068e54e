"""Two sets of settings side by side."""


def differences(before, now, there="there", here="now"):
    """What differs between two dicts of settings, a line a name.

    Args:
        before: Dict.
        now: Dict.
        there: What to call the place of the first.
        here: What to call the place of the second.

    Returns:
        List of strings, sorted by name; empty if they agree.

    Example:
        >>> differences({"seed": 1, "width": 4}, {"seed": 2, "width": 4})
        ['seed: 1 there, 2 now']
    """
    return [
        f"{name}: {before.get(name)!r} {there}, {now.get(name)!r} {here}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
