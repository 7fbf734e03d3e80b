"""Figures of the visual areas. From tables alone."""

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from mjxhand.analyse import style
from mjxhand.analyse.figures import POLICIES, Tables
from mjxhand.analyse.pictures import RETINA


def pictures(tables: Tables, folder: Path) -> None:
    """A frame; of every visual area maps of it and maximising images. One row per area."""
    table = tables["pictures"]
    shown = cast(pd.DataFrame, table[table["area"] != RETINA])
    rows = [
        (policy, area)
        for policy in POLICIES
        for area in dict.fromkeys(_only(shown, policy=policy)["area"])
    ]
    most = max(len(set(_only(shown, policy=p, area=a)["channel"])) for p, a in rows)
    height = 0.3 + 0.85 * len(rows)
    with style.figure(folder / "visual_areas", len(rows), 1 + 2 * most, height) as axes:
        for axis in axes.ravel():
            axis.set_axis_off()
        axes[0][0].imshow(_image(_only(table, area=RETINA, policy=rows[0][0])))
        axes[0][0].set_title("frame")
        for row, (policy, area) in zip(axes, rows, strict=True):
            own = _only(shown, policy=policy, area=area)
            most_active = own["activity"].max()
            for i, channel in enumerate(dict.fromkeys(own["channel"])):
                one = _only(own, channel=channel)
                activity = _plane(_only(one, kind="map"), "activity")
                row[1 + i].imshow(activity, cmap="gray", vmin=0.0, vmax=most_active)
                row[1 + most + i].imshow(_image(_only(one, kind="image")))
            row[1].set_title(f"{policy}, {area}: maps")
            row[1 + most].set_title("images")


def _only(table: pd.DataFrame, **equal: object) -> pd.DataFrame:
    for column, value in equal.items():
        table = cast(pd.DataFrame, table[table[column] == value])
    return table


def _plane(table: pd.DataFrame, value: str) -> np.ndarray:
    return table.pivot(index="row", columns="column", values=value).to_numpy()


def _image(table: pd.DataFrame) -> np.ndarray:
    """RGB f32[H, W, 3]; white where there is none."""
    planes = [_plane(table, c) for c in ("red", "green", "blue")]
    return np.nan_to_num(np.stack(planes, axis=-1), nan=1.0)
