"""The report's sections: their figures, what they are made of, how they are to be read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mjxhand.analyse import (
    figures,
    figures_dynamics,
    figures_geometry,
    figures_lesions,
    figures_visual,
)
from mjxhand.analyse.figures import Tables
from mjxhand.analyse.tuning import MADE


@dataclass(frozen=True)
class Section:
    """A part of the report: its figures, and how they are to be read."""

    title: str
    draw: Callable[[Tables, Path], None]
    pictures: tuple[str, ...]
    needs: str  # the table it is made of
    text: str


SECTIONS = (
    Section(
        "What each area tells of the present",
        figures.decoding,
        ("decoding",),
        "decoding",
        "Cross-validated R² of ridge regression from an area's activity, all episodes of a "
        "start state left out together. The untrained network was shown the same senses; only "
        "its weights differ. “reward” is what the last step brought, bonus of a reached goal "
        "included, “reward to come” what the present action brings, “value” the trained "
        "critic's estimate of the return: areas that the critic reads are trained to tell it. "
        "“all senses”: the senses side by side; an area above them holds more than that step's "
        "senses give to a linear reading. “goal as shown” and “pose as seen” stand where the "
        "network is not shown the goal or the lettered cube as such. Wider areas are fitted "
        "better by few samples; areas differ in width. Constant components are left out (column "
        "left_out of the table).",
    ),
    Section(
        "What a nonlinear decoder adds",
        figures.nonlinear,
        ("nonlinear",),
        "decoding",
        "Ridge regression on all of an area's activity and random Fourier features of its "
        "leading components, minus linear ridge regression on the same samples: the linear "
        "decoder is nested, and what is below 0 is the price of more predictors.",
    ),
    Section(
        "What each area tells of the future",
        figures.future,
        ("future",),
        "decoding",
        "The same over the lead time. No window crosses a goal or an episode. Each lead has its "
        "own samples (goals that last so long), and “future turn” is the showcase's measure. "
        "Chance: 95 % of permutations of start states, the highest of all sources. Where all "
        "episodes are equally long, chance includes what both sides share as time since the "
        "start passes; where lengths differ, it does not.",
    ),
    Section(
        "Planning or executing",
        figures.planning,
        ("planning",),
        "planning_profile",
        "The trained network's mean command at each lead, all leads on the same samples, told by "
        "its areas and by those of the untrained network. Where M1 alone feeds the actions, as "
        "in the showcase's network, it tells the present command best by wiring, and the "
        "difference to it shrinks with the lead in any network. PMC is said to plan if at 0.8 s "
        "it foretells better than M1, LPFC, all senses, 600 random units that receive the "
        "senses (“nonlinear”), the senses with the present command, and 600 random units that "
        "receive these, and does so more than in the untrained network (table planning_test). Of a "
        "network that lacks one of the two, its two deepest areas are drawn; nothing is said of "
        "them.",
    ),
    Section(
        "Dimensions",
        figures_geometry.dimensions,
        ("dimensions",),
        "dimensions",
        "Participation ratio (Σλ)²/Σλ² of each area's covariance; bars: 95 % interval.",
    ),
    Section(
        "Which areas are alike",
        figures_geometry.similarity,
        ("cka", "rsa"),
        "cka",
        "Linear CKA of activities, and Spearman correlation of their dissimilarities (pairs "
        "of steps from different start states only).",
    ),
    Section(
        "Integration and abstraction",
        figures_geometry.selectivity,
        ("selectivity",),
        "selectivity",
        "Units predicted from the senses, linearly: from one alone; what it adds to the others; "
        "how many senses share in a unit (1: a pure unit), of those that add more than 1 %; "
        "what products of the senses add. A sense counts for what the others do not tell: of "
        "two that carry the same, neither does. Senses are those of the present step, so that "
        "what memory holds counts as undriven. In random networks, too, more senses share in "
        "deeper areas.",
    ),
    Section(
        "Time scales of activity (mostly those of the senses)",
        figures_dynamics.time_scales,
        ("timescales",),
        "timescales",
        "A decaying exponential with an offset, fitted to the autocorrelation of each unit. An "
        "area without memory has the time scales of the senses that reach it, and a goal that "
        "stays is slow. Units whose decay is longer than the lags, or without a fit, are left "
        "out: their share is the table's column “unfitted”; where it is large, medians are too "
        "low.",
    ),
    Section(
        "Dynamics of the recurrent areas",
        figures_dynamics.dynamics,
        ("dynamics",),
        "spectrum",
        "Eigenvalues of the step's Jacobian at the area's fixed points, under the mean input "
        "(blue) and those of single steps (grey): inside the circle activity decays, near it "
        "slowly, off the real axis it turns. Where no fixed point was found for an input, they "
        "are those at the slowest state that the area visits: cells that integrate their input "
        "come to rest far outside of the states that they visit, if anywhere. Right: mean paths "
        "of activity from the start of a goal (dot), by the turn that the goal asks for, in the "
        "area's two leading components.",
    ),
    Section(
        "Lesions",
        figures_lesions.lesions,
        ("lesions",),
        "lesions",
        "Behaviour without each part, from the same start states and first goals. Each episode "
        "is compared with the intact network's; black lines: 95 % interval of that difference. An "
        "interval that includes 0 does not say that the part is not needed: it says how large a "
        "loss is not excluded. A silent area or a cut pathway sends zeros, which also shifts "
        "what its readers are used to; an area held sends its mean activity. A silent sense is "
        "at its running mean, and frames are mid-grey. An area whose memory is cut begins every "
        "step from zero: it loses cell and hidden state, thus also its recurrent input of the "
        "present step. “Seconds per goal” counts goals that were reached: a network that "
        "reaches near ones alone looks fast. Areas differ in size: “as many as” an area are so "
        "many units drawn from all areas, in five draws, with an interval over draws and episodes. "
        "Nothing "
        "is retrained, and many parts are tried: of twenty that do nothing, one lies outside its "
        "interval by chance.",
    ),
    Section(
        "Tuning to goals and turns",
        figures_dynamics.tuning,
        ("tuning",),
        "tuning_units",
        "Units whose activity differs between classes beyond what the best of all units reaches "
        "when whole start states change places (95 %). Turns have six classes, by the axis of "
        "the world that they are nearest to: +x along the fingers, +z up out of the palm while "
        f"the wrist is straight, right-handed. A turn made is that of the next {MADE}. "
        "Right: mean activity of each unit by class.",
    ),
    Section(
        "Saliency",
        figures.saliency,
        ("saliency",),
        "saliency",
        "Integrated gradients from each area's activity, and from the mean commands, to the "
        "senses of the last eight steps. They add up to the change of activity but for the error "
        "of the integral: column error of the table is that of the worst unit and window, over "
        "the mean change, and may exceed 1; shares are sums over all units and windows.",
    ),
    Section(
        "What the visual areas look for",
        figures_visual.pictures,
        ("visual_areas",),
        "pictures",
        "For the channels of V1 to IT that differ most between frames: left, their map of one "
        "frame (black: 0, white: the area's highest); right, the image that raises the mean of "
        "the map most, found by gradient ascent from faint noise. White: a channel that noise "
        "does not excite. Of a deep area such an image says what drives it, not what it is for.",
    ),
)
