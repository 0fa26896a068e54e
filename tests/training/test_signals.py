import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_bt.training.signals import SignalHandler, TrainingInterrupted


@pytest.fixture
def signals():
    handler = SignalHandler()
    handler.listen()
    yield handler
    handler.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "end"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_signal_is_raised_at_once_or_at_release(signals, number, end):
    with pytest.raises(TrainingInterrupted) as at_once:
        signal.raise_signal(number)
    with pytest.raises(TrainingInterrupted, match=signal.Signals(number).name):
        signals.release()
    with pytest.raises(end) as left:
        at_once.value.exit()
    if end is SystemExit:
        assert left.value.code == 143


def test_release_without_a_signal_raises_nothing(signals):
    signals.delayed = True
    signals.release()
    assert not signals.delayed


def test_second_sigint_is_not_delayed(signals):
    signals.delayed = True
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_second_signal_does_not_interrupt_the_work_after_the_first(signals):
    with pytest.raises(TrainingInterrupted):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    assert signals.delayed


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        handler = SignalHandler()
        handler.listen()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        handler.close()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_close_restores_the_handlers():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    handler = SignalHandler()
    handler.listen()
    handler.listen()
    handler.close()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_other_threads_handle_no_signals():
    handler = SignalHandler()
    with ThreadPoolExecutor() as threads:
        threads.submit(handler.listen).result()  # Python refuses signal handlers in threads
    assert signal.getsignal(signal.SIGTERM) != handler._handle
