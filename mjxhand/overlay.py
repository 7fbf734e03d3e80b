"""What is written on a picture of a film: task, goals reached, clocks, events."""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK = "#F2F4F7"
FAINT = "#AAB2BD"
STRIP = (18, 21, 26, 190)
BAR, BAR_LATE = "#56B4E9", "#E69F00"
EVENTS = {"goal reached": "#009E73", "dropped": "#D55E00"}
OTHER_EVENT = "#E69F00"


@dataclass(frozen=True)
class Caption:
    """What is known at one picture."""

    goals: int  # reached in this episode
    text: str  # what is still to do: "28° to the goal"
    goal_time: float  # spent on this goal, s
    episode_time: float  # s
    goal_at: (
        tuple[float, float] | None
    )  # pixel just below the goal object, if there is one
    goal_name: str = "goal"  # written there
    event: str = ""  # announced in the middle: "goal reached", "dropped", ...
    seen: np.ndarray | None = None  # u8[H, W, 3·cameras]: the frame that is acted on


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def draw(
    picture: np.ndarray, caption: Caption, *, label: str, goal_seconds: float
) -> np.ndarray:
    """The picture uint8[H, W, 3] with its caption."""
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image, "RGBA")
    # Sizes below are for 480 lines; in small pictures letters must stay readable.
    unit = max(0.7, image.height / 480)
    _label(pen, image.width, label, unit)
    if caption.goal_at is not None:
        _goal_mark(pen, caption.goal_at, caption.goal_name, unit)
    _status(pen, image.size, caption, goal_seconds, unit)
    if caption.seen is not None:
        _inset(image, pen, caption.seen, unit)
    if caption.event:
        _announce(pen, image.size, caption.event, unit)
    return np.asarray(image)


def _label(pen: ImageDraw.ImageDraw, width: int, label: str, unit: float) -> None:
    """The task at the top, in as many lines as it takes."""
    font, margin = _font(round(14 * unit)), 10 * unit
    lines = [""]
    for word in label.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and pen.textlength(longer, font=font) > width - 2 * margin:
            lines.append(word)
        else:
            lines[-1] = longer
    height = 18 * unit
    pen.rectangle((0, 0, width, height * len(lines) + 8 * unit), fill=STRIP)
    for row, line in enumerate(lines):
        pen.text((margin, 4 * unit + row * height), line, font=font, fill=INK)


def _goal_mark(
    pen: ImageDraw.ImageDraw, at: tuple[float, float], name: str, unit: float
) -> None:
    """The goal's name below the goal object."""
    font, pad = _font(round(14 * unit)), 5 * unit
    left, top, right, bottom = pen.textbbox(at, name, font=font, anchor="mt")
    box = (left - 1.5 * pad, top - pad, right + 1.5 * pad, bottom + pad)
    pen.rounded_rectangle(box, radius=1.5 * pad, fill=STRIP)
    pen.text(at, name, font=font, fill=INK, anchor="mt")


def _status(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    caption: Caption,
    goal_seconds: float,
    unit: float,
) -> None:
    """Goals reached, what is to do, clocks, and a bar for the time spent on the goal."""
    width, height = size
    top = height - 44 * unit
    pen.rectangle((0, top, width, height), fill=STRIP)
    big, small = _font(round(18 * unit)), _font(round(14 * unit))
    middle = top + 19 * unit
    clock = f"{caption.goal_time:.1f} of {goal_seconds:g} s"
    if width > 600 * unit:
        clock += " on this goal"
    columns = (
        (0.02, "lm", big, INK, f"{caption.goals} goal{'s' * (caption.goals != 1)}"),
        (0.29, "lm", small, INK, caption.text),
        (0.77, "rm", small, INK, clock),
        (0.98, "rm", small, FAINT, f"clock {caption.episode_time:.1f} s"),
    )
    for x, anchor, font, colour, text in columns:
        pen.text((x * width, middle), text, font=font, fill=colour, anchor=anchor)
    used = min(1.0, caption.goal_time / goal_seconds)
    colour = BAR_LATE if used > 0.75 else BAR
    pen.rectangle((0, height - 5 * unit, used * width, height), fill=colour)


def _inset(
    image: Image.Image, pen: ImageDraw.ImageDraw, seen: np.ndarray, unit: float
) -> None:
    """What each camera shows, side by side at the lower left, enlarged without smoothing."""
    edge, left = round(0.27 * image.height), round(8 * unit)
    top = round(image.height - 52 * unit) - edge
    cameras = seen.shape[-1] // 3
    for camera in range(cameras):
        part = Image.fromarray(seen[..., 3 * camera : 3 * camera + 3])
        part = part.resize((edge, edge), Image.Resampling.NEAREST)
        image.paste(part, (left + camera * edge, top))
    right, above = left + cameras * edge - 1, top - 20 * unit
    pen.rectangle((left, above, right, top - 1), fill=STRIP)
    middle, font = (top + above) / 2, _font(round(14 * unit))
    pen.text(
        (left + 5 * unit, middle), "what it sees", font=font, fill=INK, anchor="lm"
    )


def _announce(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], event: str, unit: float
) -> None:
    """A coloured frame round the picture and the event's name."""
    width, height = size
    colour = EVENTS.get(event, OTHER_EVENT)
    pen.rectangle(
        (0, 0, width - 1, height - 1), outline=colour, width=max(2, round(5 * unit))
    )
    font, centre = _font(round(20 * unit)), (width / 2, 66 * unit)
    left, top, right, bottom = pen.textbbox(centre, event, font=font, anchor="mm")
    pad = 9 * unit
    pen.rounded_rectangle(
        (left - 2 * pad, top - pad, right + 2 * pad, bottom + pad),
        radius=2 * pad,
        fill=colour,
    )
    pen.text(centre, event, font=font, anchor="mm", fill=INK)
