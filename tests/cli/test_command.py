"""Flags, refusals and exit statuses that all commands share."""

import logging

import pytest

from keras_bt.cli.command import Command, FlagGroup


def make_command(run, **options):
    def define(values):
        group = FlagGroup(values, "Things")
        group.integer("count", 1, "Number of things.", 1)
        group.string("name", None, "Name of the thing.")
        group.enum("kind", "a", ("a", "b"), "Kind of thing.")
        group.bool("loud", "Whether it is loud.")
        group.list("parts", None, "Parts of it.")

    doc = "Makes things.\n\n    keras-bt make --count=2\n"
    return Command(name="make", doc=doc, define_flags=define, run=run, **options)


@pytest.fixture
def calls():
    return []


@pytest.fixture
def make(calls):
    return make_command(calls.append, first=("name",), exclusive=(("name", "parts"),))


def test_calls_share_no_state(make, calls):
    assert make.main(["--count=3", "--loud", "--parts=a,b"]) == 0
    assert make.main([]) == 0
    first, second = (call.flags for call in calls)
    assert (first.count, first.loud, first.parts) == (3, True, ["a", "b"])
    assert (second.count, second.loud, second.parts) == (1, False, None)
    assert calls[0].command_line == "keras-bt make --count=3 --loud --parts=a,b"


def test_flags_can_come_from_a_file(make, calls, tmp_path):
    (tmp_path / "flags").write_text("--count=5\n--name=x y\n")
    assert make.main([f"--flagfile={tmp_path}/flags", "--count=7"]) == 0
    assert (calls[0].flags.count, calls[0].flags.name) == (7, "x y")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cuont=2"], "Unknown command line flag 'cuont'. Did you mean: count ?"),
        (["--count=0"], "--count=0"),
        (["--count=x"], "--count=x"),
        (["--kind=c"], "--kind=c"),
        (["count=2"], "unexpected arguments ['count=2']; write flags as --name=value."),
        (["--name=a", "--parts=b"], "--name and --parts cannot be combined; give only one."),
    ],
)
def test_wrong_flags_are_refused_in_one_line(make, calls, capsys, arguments, message):
    assert make.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and not calls
    assert printed.err.startswith("keras-bt make: ") and printed.err.count("\n") == 1
    assert message in printed.err


def test_a_missing_flag_is_named_with_its_meaning(calls, capsys):
    assert make_command(calls.append, required=("name",)).main([]) == 2
    assert capsys.readouterr().err == "keras-bt make: --name is missing: Name of the thing.\n"


def test_help_lists_all_flags_and_runs_nothing(make, calls, capsys):
    for flag in ("--help", "--helpfull"):
        assert make.main([flag]) == 0
        text = capsys.readouterr().out
        assert text.index("--name=TEXT") < text.index("More flags") < text.index("--count=N")
        for line in ("Number of things. Default: 1.", "--kind=a|b", "--loud\n", "--parts=A,B"):
            assert line in text
    assert not calls


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no"), 2), (OSError("no"), 2), (ImportError("no"), 2), (KeyboardInterrupt(), 130)],
)
def test_status_of_a_command_that_fails(capsys, error, status):
    def fail(invocation):
        raise error

    assert make_command(fail).main([]) == status
    assert capsys.readouterr().err == ("" if status == 130 else "keras-bt make: no\n")


def test_unexpected_errors_keep_their_traceback():
    with pytest.raises(KeyError):
        make_command(lambda invocation: {}["key"]).main([])


def test_messages_of_the_package_are_shown_during_the_command_only(capsys):
    logger = logging.getLogger("keras_bt")
    before = (logger.level, list(logger.handlers), logger.propagate)

    def log(invocation):
        logger.info("hidden")
        logging.getLogger("keras_bt.data").warning("%d files are missing.", 2)
        logger.setLevel(logging.INFO)
        logger.info("shown")

    assert make_command(log).main([]) == 0
    assert capsys.readouterr().err == "Warning: 2 files are missing.\nshown\n"
    assert (logger.level, list(logger.handlers), logger.propagate) == before
