"""metrics.jsonl, TensorBoard events, the display."""

import io
import json
import math

import pytest
from rich.console import Console

from mjxhand import metrics as metrics_module
from mjxhand import progress as progress_module
from mjxhand.metrics import Metrics, read
from mjxhand.presets import PRESETS
from mjxhand.progress import Display, clock, count, smooth


def line(update: int, **more):
    return {
        "update": update,
        "env_steps": update * 16_384,
        "simulated_years": 1e-3,
        "sps": 4000.0,
        "episodes": 2,
        "goals_per_episode": 1.5,
        "drop_rate": 0.25,
        "goal_angle_max": 0.95,
        "policy/kl": 0.0123,
        "policy/learning_rate": 5e-4,
        "reward/drop": -0.003,
        **more,
    }


def test_one_object_per_update_readable_at_once(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.write(line(1))
        assert read(tmp_path) == [line(1)]  # flushed, not only when closed
        metrics.write(line(2))
    assert [entry["update"] for entry in read(tmp_path)] == [1, 2]


def test_of_an_update_told_twice_the_last_counts(tmp_path):
    """As where a run was killed after its line and before its checkpoint."""
    with Metrics(tmp_path) as metrics:
        for update, sps in ((1, 1.0), (2, 2.0), (1, 3.0)):
            metrics.write(line(update, sps=sps))
    assert [(x["update"], x["sps"]) for x in read(tmp_path)] == [(1, 3.0), (2, 2.0)]


def test_nan_and_infinity_become_null(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.write({"update": 1, "a": math.nan, "b": -math.inf, "c": 2.0})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text) == {"update": 1, "a": None, "b": None, "c": 2.0}


def test_resume_leaves_no_update_double_or_missing(tmp_path):
    with Metrics(tmp_path) as metrics:
        for update in (1, 2, 3, 4, 5):
            metrics.write(line(update))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"update": 6, "env_st')  # killed while writing
    with Metrics(tmp_path, resume_at=3) as metrics:
        metrics.write(line(4, sps=1.0))
    entries = read(tmp_path)
    assert [entry["update"] for entry in entries] == [1, 2, 3, 4]
    assert entries[3]["sps"] == 1.0
    assert (tmp_path / "metrics.jsonl").read_text().endswith("\n")


def test_whole_line_without_its_newline_is_dropped_too(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"update": 1}\n{"update": 2}')
    with Metrics(tmp_path, resume_at=2) as metrics:
        metrics.write({"update": 2})
    assert read(tmp_path) == [{"update": 1}, {"update": 2}]


def events(folder):
    """Step and numbers by tag of every TensorBoard event."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.glob("events.out.tfevents.*")
    content, found = file.read_bytes(), []
    while content:  # length u64, its sum u32, the event, its sum u32
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        numbers = {value.tag: value.simple_value for value in event.summary.value}
        found.append((event.step, numbers, event.session_log.status))
        content = content[16 + length :]
    return found


def test_tensorboard_gets_the_numbers_by_group(tmp_path):
    with Metrics(tmp_path, resume_at=6) as metrics:
        metrics.write(line(7, **{"loss/value": math.nan}))
    _, (start, _, status), (step, numbers, _) = events(tmp_path)
    assert (start, status) == (7, 1)  # START: later points of before are hidden
    assert step == 7
    assert numbers["policy/kl"] == pytest.approx(0.0123)
    assert numbers["run/goals_per_episode"] == 1.5
    assert not {"loss/value", "run/update"} & set(numbers)


def test_unwritable_tensorboard_is_said_once_and_stops_nothing(
    tmp_path, monkeypatch, capsys
):
    def full(*_):
        raise OSError("no space")

    with Metrics(tmp_path) as metrics:
        metrics.write(line(1))
        monkeypatch.setattr(
            "tensorboardX.event_file_writer.EventsWriter.write_event", full
        )
        for update in (2, 3):
            metrics.write(line(update))
    assert len(read(tmp_path)) == 3
    assert capsys.readouterr().err == "warning: no TensorBoard events (no space)\n"


def test_a_full_disk_loses_no_line_once_there_is_room(tmp_path, capsys):
    """The real thing where Linux has it; a write that fails in its middle."""
    with Metrics(tmp_path) as metrics:
        metrics.write(line(1))
        good = metrics._file

        class Full:
            def fileno(self):
                return good.fileno()

            def write(self, data):
                if len(data) < 100:
                    raise OSError(28, "No space left on device")
                return good.write(data[:-50])  # the system takes what it can

        metrics._file = Full()  # type: ignore
        metrics.write(line(2))
        metrics.write(line(3))
        assert [entry["update"] for entry in read(tmp_path)] == [1]
        assert (tmp_path / "metrics.jsonl").read_text().endswith("\n")
        metrics._file = good
        metrics.write(line(4))
    assert [entry["update"] for entry in read(tmp_path)] == [1, 2, 3, 4]
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "cannot write" in err
    assert "No space left on device" in err


def test_a_damaged_line_is_left_out_and_told_on_resume(tmp_path, capsys):
    with Metrics(tmp_path) as metrics:
        for update in (1, 2, 3, 4):
            metrics.write(line(update))
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(True)
    path.write_bytes(lines[0] + b'{"upd\xff\n' + lines[2] + lines[3] + lines[3])
    Metrics(tmp_path, resume_at=4).close()
    assert [entry["update"] for entry in read(tmp_path)] == [1, 3, 4]
    assert "lacks the lines of 1 of the 4 updates before" in capsys.readouterr().err


def show(console: Console, updates=(1, 2, 3), **options) -> str:
    config = PRESETS["laptop"]
    with Display(config, "laptop · near goals", console=console, **options) as progress:
        for update in updates:
            progress.show(line(update))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def plain_console() -> Console:
    return Console(file=io.StringIO(), highlight=False)


def test_terminal_shows_everything_asked_for():
    terminal = Console(
        file=io.StringIO(), force_terminal=True, width=90, color_system=None
    )
    text = show(terminal)
    total = PRESETS["laptop"].num_updates
    for words in (
        "laptop · near goals",
        f"3/{total} updates",
        f"49.2 k of {count(PRESETS['laptop'].total_steps)}",
        "0.001 years",
        "4,000 steps/s",
        "1.50",
        "25 %",
        f"0.95 of {PRESETS['laptop'].env.goal_angle_max:.2f} rad",
        "0.0123",
        "5.0e-04",
        "drop -0.0030",
        "left",
    ):
        assert words in text, words


def test_what_goes_wrong_is_shown_as_long_as_it_is_recent():
    terminal = Console(
        file=io.StringIO(), force_terminal=True, width=90, color_system=None
    )
    bad = line(1, invalid_states=3.0, skipped_steps=1.0, overflow_rate=0.2)
    for console in (terminal, plain_console()):
        with Display(PRESETS["laptop"], "title", console=console) as progress:
            progress.show(bad)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        for words in ("3 invalid states", "1 skipped gradient step", "20 % of"):
            assert words in text, words
    assert progress_module.troubles(smooth([bad, bad]))[0].startswith(
        "6 invalid states"
    )
    assert progress_module.troubles(smooth([line(1), line(2)])) == []


def test_elsewhere_plain_lines_not_too_often(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    console = plain_console()
    with Display(PRESETS["laptop"], "title", console=console) as progress:
        for update in range(1, 31):
            progress.show(line(update))
            now[0] += 1.0
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    shown = [text.split("/")[0] for text in lines[1:]]
    assert shown == ["update 1", "update 11", "update 21", "update 30"]
    assert "\x1b" not in console.file.getvalue()


@pytest.mark.parametrize(("term", "width"), [("xterm", 60), ("dumb", 100)])
def test_a_terminal_without_room_for_a_table_gets_plain_lines(monkeypatch, term, width):
    """At once: a dumb terminal would show a live display only at its end."""
    monkeypatch.setenv("TERM", term)
    console = Console(
        file=io.StringIO(), force_terminal=True, width=width, color_system=None
    )
    with Display(PRESETS["laptop"], "title", console=console) as progress:
        progress.show(line(1))
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
    assert text.count("\n") == 2
    assert "1.50 goals/episode" in text
    assert "…\n" not in text


class Gone(io.StringIO):
    """What a closed terminal, or a closed pipe, answers."""

    error = OSError(5, "Input/output error")

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("live", [True, False])
def test_a_terminal_that_is_gone_ends_the_display_and_nothing_else(live):
    console = Console(file=io.StringIO(), force_terminal=live, width=90)
    with Display(PRESETS["laptop"], "title", console=console) as progress:
        console.file = Gone()
        progress.show(line(1))
        progress.show(line(2))


def test_a_reader_that_has_left_is_told_of():
    file = Gone()
    file.error = BrokenPipeError()
    console = progress_module.Output(file=io.StringIO())
    with Display(PRESETS["laptop"], "title", console=console) as progress:
        console.file = file
        with pytest.raises(BrokenPipeError):
            progress.show(line(1))


def test_time_left_counts_from_where_this_process_began(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    config = PRESETS["laptop"]
    progress = Display(config, "title", console=plain_console())
    progress.show(line(51))  # resumed; its time holds the compilation
    now[0] = 20.0
    progress.show(line(61))  # 2 s per update since
    assert progress._eta(line(61)) == clock(2.0 * (config.num_updates - 61))
    assert progress._eta(line(config.num_updates)) == "0:00"


def test_quiet_shows_nothing():
    assert show(plain_console(), quiet=True) == ""


def test_rates_are_averaged_over_episodes_and_time():
    lines = [
        line(1, goals_per_episode=3.0, episodes=1, sps=1000.0),
        line(2, goals_per_episode=0.0, episodes=2, sps=3000.0),
        line(3, goals_per_episode=math.nan, episodes=0, sps=3000.0),
    ]
    shown = smooth(lines)
    assert shown["goals_per_episode"] == pytest.approx(1.0)
    assert shown["sps"] == pytest.approx(3 / (1 / 1000 + 2 / 3000))
    assert shown["update"] == 3
    assert math.isnan(smooth(lines[2:])["goals_per_episode"])


def test_numbers_for_people():
    assert [count(n) for n in (999, 16_384, 2e6, 5.9e8, 1.31e9)] == [
        "999",
        "16.4 k",
        "2 M",
        "590 M",
        "1.31 G",
    ]
    assert [clock(s) for s in (5, 245, 3723)] == ["0:05", "4:05", "1:02:03"]
    assert metrics_module.FILE == "metrics.jsonl"
