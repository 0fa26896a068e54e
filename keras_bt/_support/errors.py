"""One-line error messages."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if the message is empty.

    Example:
        >>> first_line(ValueError("too many", "of them")), first_line(KeyError())
        ("('too many', 'of them')", 'KeyError')
    """
    return (str(error) or type(error).__name__).splitlines()[0]
