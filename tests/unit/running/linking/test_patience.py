from __future__ import annotations

import threading

import pytest

from edgewise.running.linking.patience import within


def test_the_result_comes_from_another_thread():
    assert within(30, threading.current_thread) is not threading.current_thread()


def test_what_the_work_raises_is_raised_here():
    def work() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        within(30, work)


def test_work_that_does_not_end_is_left_behind():
    ended = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, lambda: ended.wait(60))
    ended.set()


def test_what_is_left_behind_may_fail_unheard():
    ended = threading.Event()

    def work() -> None:
        ended.wait(60)
        raise KeyError("nobody listens")

    with pytest.raises(TimeoutError):
        within(0.05, work)
    ended.set()
    for thread in threading.enumerate():
        if thread.name == "edgewise-send":
            thread.join(30)  # pytest would report what reached the thread's end
