"""Pickles read without running them: what is not a plain value has to be made by the caller.

Python's own `pickle` calls whatever functions a pickle names and sets attributes as it says. This
reads the same opcodes, makes numbers, strings and containers of them, and calls nothing but the
functions it is given.
"""

import collections
import pickletools
from typing import Any, NamedTuple

MARK = object()
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
PASSED_OVER = {"PROTO", "FRAME", "STOP"}
LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}


class Name(NamedTuple):
    """A function or class as a pickle names it; never looked up."""

    module: str
    name: str


def read_pickle(file, call, persistent):
    """Reads one pickle, and no byte more.

    Args:
        file: Binary file, or bytes' `io.BytesIO`.
        call: Function (`Name`, *arguments) to what the pickle is to have in the place of a call.
        persistent: Function of a persistent id to what it stands for.

    Returns:
        What was pickled. Functions that it holds are `Name`s; attributes that it sets are lost.

    Raises:
        ValueError: If it holds an instruction that is not for plain values.
        Exception: Of many kinds, if it is damaged.

    Example:
        >>> import io, pickle
        >>> content = pickle.dumps({"a": [1, (2.5, None)], "f": print})
        >>> read_pickle(io.BytesIO(content), call=None, persistent=None)
        {'a': [1, (2.5, None)], 'f': Name(module='builtins', name='print')}
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}

    def pop_to_mark():
        last = max(index for index, value in enumerate(stack) if value is MARK)
        values = stack[last + 1 :]
        del stack[last:]
        return values

    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case name if name in PASSED_OVER:
                pass
            case name if name in LITERALS:
                stack.append(argument)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case name if name in EMPTY:
                stack.append(EMPTY[name]())
            case "MARK":
                stack.append(MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                pop_to_mark()
            case "DUP":
                stack.append(stack[-1])
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "LIST":
                stack.append(pop_to_mark())
            case "DICT":
                values = pop_to_mark()
                stack.append(dict(zip(values[::2], values[1::2], strict=True)))
            case "APPEND":
                value = stack.pop()
                _a(list, stack[-1]).append(value)
            case "APPENDS":
                values = pop_to_mark()
                _a(list, stack[-1]).extend(values)
            case "SETITEM":
                key, value = stack[-2:]
                del stack[-2:]
                _a(dict, stack[-1])[key] = value
            case "SETITEMS":
                values = pop_to_mark()
                _a(dict, stack[-1]).update(zip(values[::2], values[1::2], strict=True))
            case "ADDITEMS":
                values = pop_to_mark()
                _a(set, stack[-1]).update(values)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(Name(*str(argument).split(" ", 1)))
            case "STACK_GLOBAL":
                stack[-2:] = [Name(*stack[-2:])]
            case "BINPERSID":
                stack[-1] = persistent(stack[-1])
            case "REDUCE":
                function, arguments = stack[-2:]
                stack[-2:] = [call(_a(Name, function), *_a(tuple, arguments))]
            case "BUILD":
                stack.pop()  # the attributes of what is below
                _a(collections.OrderedDict, stack[-1])
            case other:
                raise ValueError(f"it holds the instruction {other}, which is not for plain values")
    (content,) = stack
    return content


def _a(kind, value):
    if not isinstance(value, kind):
        raise ValueError(f"it takes a {type(value).__name__} for a {kind.__name__}")
    return value
