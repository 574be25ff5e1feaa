import os
import signal
import threading
from typing import Any

import pytest

from rmem_cli.runs.signals import stop_requested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_sets_the_flag_and_nothing_else(number: signal.Signals) -> None:
    with stop_requested() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_interrupts_at_once(first: signal.Signals) -> None:
    with stop_requested() as stop:
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop()


def test_a_second_sigterm_lets_the_checkpoint_be_written() -> None:
    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()


def test_a_hang_up_that_is_ignored_as_by_nohup_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requested() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def fail_inside() -> None:
    with stop_requested():
        raise ValueError("inside")


def test_the_handlers_are_restored_even_after_an_error() -> None:
    before = handlers()
    with stop_requested():
        assert handlers() != before
    assert handlers() == before
    with pytest.raises(ValueError, match="inside"):
        fail_inside()
    assert handlers() == before


def test_outside_the_main_thread_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[Any] = []

    def work() -> None:
        with stop_requested() as stop:
            seen.append((stop(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
