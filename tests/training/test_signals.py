import signal
import threading

import pytest

from keras_bt.training.signals import SignalHandler, TrainingInterrupted


@pytest.fixture
def interruption():
    listening = SignalHandler()
    listening.listen()
    yield listening
    listening.close()


@pytest.mark.parametrize(
    ("number", "end"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_is_raised_at_once_or_waits(interruption, number, end):
    with pytest.raises(TrainingInterrupted) as at_once:
        signal.raise_signal(number)
    with pytest.raises(TrainingInterrupted, match=signal.Signals(number).name):
        interruption.release()
    with pytest.raises(end) as left:
        at_once.value.leave()
    if end is SystemExit:
        assert left.value.code == 143


def test_nothing_came(interruption):
    interruption.held = True
    interruption.release()


def test_a_second_sigint_does_not_wait(interruption):
    interruption.held = True
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_second_signal_does_not_end_what_the_first_began(interruption):
    with pytest.raises(TrainingInterrupted):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)  # waits
    assert interruption.held


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        listening = SignalHandler()
        listening.listen()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        listening.close()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    listening = SignalHandler()
    listening.listen()
    listening.listen()
    listening.close()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_other_threads_have_no_signals():
    listening = SignalHandler()
    thread = threading.Thread(target=listening.listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) != listening._receive
