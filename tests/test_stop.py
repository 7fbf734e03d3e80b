"""Signals: what a scheduler and a person send, and an update that does not end in time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mjxhand import stop as stop_module
from mjxhand import watch
from mjxhand.stop import Stop


@pytest.fixture
def hangup():
    """What a closed terminal does, whether the tests were started by `nohup` or not."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP]
)
def test_a_signal_asks_and_handlers_are_put_back(number, hangup):
    before = signal.getsignal(number)
    with Stop() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
    assert signal.getsignal(number) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_closed_terminal_is_nothing_to_who_ignored_it(hangup):
    """As `nohup` starts a command."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.asked
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


SAVING = """
import os, signal, time
from mjxhand.stop import Stop
with Stop(lambda: print("late"), grace=0.2) as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    stop.ends()
    time.sleep(1.0)
    print("saved")
"""


def test_saving_may_take_longer_than_the_grace():
    """With others waiting for it, a process that left alone would be lost to them."""
    done = subprocess.run(
        [sys.executable, "-c", SAVING],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        check=True,
    )
    assert done.stdout == "saved\n"


def test_a_person_in_a_hurry_and_a_scheduler_that_repeats_itself(capfd):
    with Stop():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)  # the listening thread hears of the first
    assert capfd.readouterr().err == ""
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Stop(finish=False):
        os.kill(os.getpid(), signal.SIGINT)


BUSY = """
import hashlib, sys
from mjxhand.stop import Stop
with Stop(lambda: print("late"), grace=0.5):
    print("begun", flush=True)
    # As a compilation: minutes in C, without a moment for Python's signal handlers.
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


def busy(code: str) -> subprocess.Popen:
    """A child that has begun to compute in C."""
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    return child


def told(child: subprocess.Popen) -> tuple[str, str]:
    """What it printed; it must end, and soon."""
    began = time.monotonic()
    try:
        out, err = child.communicate(timeout=120)
    finally:
        child.kill()
    assert time.monotonic() - began < 60
    return out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_update_that_does_not_end_is_left_in_time(number, hangup):
    child = busy(BUSY)
    child.send_signal(number)
    assert told(child) == ("late\n", "")
    assert child.returncode == 0


@pytest.mark.parametrize(("finish", "presses"), [(True, 2), (False, 1)])
def test_a_person_in_a_hurry_is_heard_in_a_compilation(finish, presses):
    child = busy(BUSY.replace("grace=0.5", f"finish={finish}"))
    for _ in range(presses):
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
    assert told(child) == ("", "interrupted\n")
    assert child.returncode == 130


def test_whoever_is_on_the_way_out_is_left_alone(monkeypatch):
    """A save that runs may take its time."""
    monkeypatch.setattr(stop_module, "HURRY", 0.1)
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    with Stop():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
    with Stop() as stop:
        stop.ends()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
    assert left == []


def test_a_stall_is_told_with_the_stacks_and_its_end_too(tmp_path, capsys):
    with watch.Watchdog(tmp_path, seconds=0.2) as watchdog:
        watchdog.beat(7)
        time.sleep(0.7)
        watchdog.beat(8)
    err = capsys.readouterr().err
    assert "warning: no update since update 7 for" in err
    assert "update 8 has ended" in err
    assert err.count("warning") <= 3  # after 0.2 s, 0.4 s, …: not all the time
    stacks = (tmp_path / watch.STACKS).read_text()
    assert "test_stop.py" in stacks


def test_no_stall_no_word(tmp_path, capsys):
    with watch.Watchdog(tmp_path, seconds=5) as watchdog:
        watchdog.beat(1)
    with watch.Watchdog(tmp_path, seconds=0):
        pass
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []


def test_memory_is_what_the_process_holds():
    before = watch.memory()["memory/process"]
    ballast = bytearray(os.urandom(1)) * (200 * 2**20)
    after = watch.memory()["memory/process"]
    assert 10 < before < 10**6
    assert 180 < after - before < 260
    del ballast


def test_gpu_use_is_what_nvidia_smi_says(tmp_path, monkeypatch):
    program, answer = tmp_path / "nvidia-smi", tmp_path / "answer"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {answer}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    with watch.GpuUse(seconds=0.05) as use:  # on a CPU nobody is asked
        time.sleep(0.2)
        assert use() == {}
    assert not (tmp_path / "asked").exists()

    def soon(expected):
        end = time.monotonic() + 20
        while use() != expected:
            assert time.monotonic() < end, use()
            time.sleep(0.02)

    monkeypatch.setattr(watch.jax, "default_backend", lambda: "gpu")
    answer.write_text("90\n71\n")
    with watch.GpuUse(seconds=0.05) as use:
        soon({"gpu/utilization": 80.5})
        answer.write_text("[N/A]\n")
        soon({})
        answer.write_text("10\n20\n")
        soon({"gpu/utilization": 15.0})
    asked = (tmp_path / "asked").read_text().splitlines()[0]
    assert asked == "--query-gpu=utilization.gpu --format=csv,noheader,nounits -i 2,5"
