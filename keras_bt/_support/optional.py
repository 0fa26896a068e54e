"""Optional dependencies."""

import importlib
from collections.abc import Iterable
from types import ModuleType


def import_optional(packages: Iterable[str], extra: str) -> list[ModuleType]:
    """Imports packages, or raises an error that says how to install them.

    Args:
        packages: Names of the packages.
        extra: The extra of keras-bt that installs them.

    Returns:
        The modules.

    Raises:
        ImportError: If a package is missing. The message names it.

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
