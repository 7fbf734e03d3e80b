"""Pictures to a file: MP4 (H.264) and GIF, there in whole or not at all."""

import contextlib
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from mjxhand import look
from mjxhand.config import ConfigError
from mjxhand.overlay import EVENTS, OTHER_EVENT

Writer = Callable[[Path, Iterator[np.ndarray], int], None]

GIF_COLOURS = 128
GIF_FPS = 50
"""Browsers show pictures that are to last less than 20 ms for 100."""


def _ffmpeg() -> str:
    """Path of the program that codes films.

    Raises:
        ConfigError: there is none.
    """
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise ConfigError(
            "an MP4 is coded by ffmpeg, which is not there: pip install imageio-ffmpeg, or "
            "give a path that ends in .gif"
        ) from None


def _write_mp4(path: Path, pictures: Iterator[np.ndarray], fps: int) -> None:
    exe = _ffmpeg()
    first = next(pictures)
    height, width, _ = first.shape
    command = [exe, "-y", "-loglevel", "error"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(fps), "-i", "-", "-an", "-c:v", "libx264", "-crf", "20"]
    # Named so that neither a colon nor a dash in it means anything to ffmpeg.
    command += ["-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command += [f"file:{path.absolute()}"]
    # imageio's own writer forks this process, which JAX's threads do not survive for sure.
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe) as ffmpeg:
        assert ffmpeg.stdin is not None
        assert ffmpeg.stderr is not None
        try:
            for picture in itertools.chain([first], pictures):
                ffmpeg.stdin.write(np.ascontiguousarray(picture).tobytes())
            ffmpeg.stdin.close()
        except BrokenPipeError:
            pass  # it stopped; its own words say why
        problem = ffmpeg.stderr.read().decode(errors="replace").strip()
    if ffmpeg.returncode:
        raise OSError(f"ffmpeg: {problem.splitlines()[-1] if problem else 'failed'}")


def _write_gif(path: Path, pictures: Iterator[np.ndarray], fps: int) -> None:
    if fps > GIF_FPS:
        raise ConfigError(
            f"--fps is {fps}: a GIF shows at most {GIF_FPS} pictures in a second; give as "
            "many, or a path that ends in .mp4"
        )
    first = Image.fromarray(next(pictures))
    # One palette for all pictures, undithered: what does not move costs nothing.
    palette = _swatches(first).quantize(GIF_COLOURS, dither=Image.Dither.NONE)

    def indexed():
        for i, picture in enumerate(
            itertools.chain([first], map(Image.fromarray, pictures))
        ):
            small = picture.quantize(palette=palette, dither=Image.Dither.NONE)
            # A GIF's clock counts hundredths of a second: of 30 pictures in a second some
            # last 30 ms, some 40, and all together a second.
            hundredths = round(100 * (i + 1) / fps) - round(100 * i / fps)
            small.info["duration"] = 10 * hundredths
            yield small

    frames = indexed()
    next(frames).save(
        path,
        save_all=True,
        append_images=frames,
        loop=0,
        optimize=True,
    )


def _swatches(picture: Image.Image) -> Image.Image:
    """The picture beside the colours that later ones may need: the cube's and the events'."""
    colours = [colour for _, colour in look.FACES] + [*EVENTS.values(), OTHER_EVENT]
    both = Image.new("RGB", (picture.width * 2, picture.height))
    both.paste(picture, (0, 0))
    pen = ImageDraw.Draw(both)
    shades = [
        tuple(int(channel * light) for channel in ImageColor.getrgb(colour)[:3])
        for colour in colours
        for light in (1.0, 0.7, 0.45)
    ]
    height = picture.height / len(shades)
    for row, shade in enumerate(shades):
        box = (picture.width, row * height, both.width, (row + 1) * height)
        pen.rectangle(box, fill=shade)
    return both


WRITERS = {".mp4": _write_mp4, ".gif": _write_gif}


def writer(path: Path) -> Writer:
    """How to write a film of this name: `write(path, pictures, fps)`.

    Raises:
        ConfigError: neither .mp4 nor .gif.
    """
    if path.suffix not in WRITERS:
        raise ConfigError(
            f"cannot write a film as {path.name!r}: the name must end in .mp4 or .gif"
        )
    return WRITERS[path.suffix]


def save_whole(path: Path, write: Callable[[Path], None]) -> Path:
    """Write a file under a hidden name, then rename it: it is there in whole or not at all."""
    hidden = path.with_name(f".{path.name}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(hidden)
        os.replace(hidden, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):  # what failed before is the error to tell
            hidden.unlink(missing_ok=True)
    return path
