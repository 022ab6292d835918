import threading
import time

from vrft_core.pauses import end_by, pause


class Ended(BaseException):
    pass


def test_a_pause_is_ended_from_another_thread_once_each_time_it_is_told():
    told, raised, cleaned = threading.Event(), [], threading.Event()

    def wait() -> None:
        end_by(told, Ended)
        for _ in range(2):
            try:
                pause(600)
            except Ended:
                raised.append(time.monotonic())
                pause(0.001)  # cleaning up is not ended by what began it
                cleaned.set()

    thread = threading.Thread(target=wait, daemon=True)
    told.set()  # before it pauses: not lost
    thread.start()
    assert cleaned.wait(60) and len(raised) == 1
    told.set()
    thread.join(60)
    assert len(raised) == 2 and not thread.is_alive()


def test_elsewhere_it_is_a_sleep():
    began = time.monotonic()
    pause(0.01)
    assert time.monotonic() - began >= 0.01
