"""What errors say, for messages of one line."""


def first_line(error):
    """The first line of an error's message; its type where it has none.

    Example:
        >>> first_line(ValueError("too many", "of them")), first_line(KeyError())
        ("('too many', 'of them')", 'KeyError')
    """
    return (str(error) or type(error).__name__).splitlines()[0]
