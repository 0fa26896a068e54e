"""Packages that are no dependencies, imported where they are used."""

import importlib


def import_optional(packages, extra):
    """Imports packages, or says how to get them.

    Args:
        packages: Names of modules.
        extra: Name of keras-bt's extra that brings them.

    Returns:
        List of the modules.

    Raises:
        ImportError: If one is missing, naming it.

    Example:
        >>> import_optional(["no_such_package"], extra="onnx")
        Traceback (most recent call last):
            ...
        ImportError: This needs no_such_package: pip install 'keras-bt[onnx]'.
    """
    try:
        return [importlib.import_module(name) for name in packages]
    except ModuleNotFoundError as error:
        raise ImportError(f"This needs {error.name}: pip install 'keras-bt[{extra}]'.") from error
