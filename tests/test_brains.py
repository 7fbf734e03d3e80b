"""Brains from tables: the presets, your own, the options, and a run's own copy."""

import dataclasses
import itertools
import random
import shutil

import jax
import pytest

from mjxhand import atlas, cli, lock, networks, presets, runs
from mjxhand import wiring as wirings
from mjxhand.config import ConfigError, NetworkConfig
from mjxhand.networks import options
from mjxhand.wiring import Area, Pathway, Wiring

SIZES = {"vision": 7, "proprioception": 48, "touch": 92, "goal": 4, "privileged": 25}

# A brain in nine lines.
TABLE = """
area    units  layers  cell  receives               feedback  label
S       12     2       -     touch,proprioception   -         somatosensory cortex
P       8      1       gru   S,vision,S             -         parietal cortex # twice S
F       6      1       -     goal,P                 M         frontal cortex
M       10     1       *     F,S                    M,P       motor cortex
policy  -      -       -     M                      -         -
value   16,4   -       -     P,F,privileged         -         -
"""


def config(smoke, **settings):
    network = dataclasses.replace(smoke.network, **settings)
    return dataclasses.replace(smoke, network=network)


def test_published_sizes_and_pathways():
    brain = atlas.find("angorapy_v2")
    assert {a.name: (a.units, a.layers) for a in brain.areas} == {
        "SSC": (296, 2), "SPL": (456, 1), "IPL": (672, 1), "IPS": (344, 1),
        "MCC": (216, 1), "LPFC": (360, 1), "PMC": (256, 1), "M1": (96, 1),
    }  # fmt: skip
    assert {a.name: brain.sources(a.name) for a in brain.areas} == {
        "SSC": ("proprioception", "touch"),
        "SPL": ("SSC",),
        "IPL": ("SSC", "vision", "SPL"),
        "IPS": ("IPL", "SSC", "SSC", "vision", "SPL"),
        "MCC": ("goal",),
        "LPFC": ("MCC", "IPL", "IPS"),
        "PMC": ("LPFC", "SPL", "SSC"),
        "M1": ("PMC", "SSC", "SPL"),
    }
    assert [a.name for a in brain.areas if a.recurrent] == ["PMC"]
    assert brain.policy == ("M1",)
    assert brain.value == ("PMC", "MCC", "IPS", "LPFC", "SSC", "privileged")
    assert brain.value_units == (512, 512)
    assert all(a.label for a in brain.areas)


def test_derived_brain_has_the_published_pathways_and_its_own_sizes():
    """The same 17 pathways (SSC once into IPS) and senses; sizes from cells."""
    derived, published = atlas.find("derived"), atlas.find("angorapy_v2")
    assert set(derived.pathways) == set(published.pathways)
    assert len(derived.pathways) == len(published.pathways) - 1 == 20
    assert {a.name: a.units for a in derived.areas} == atlas.load().unit_counts()
    assert set(derived.value) == set(published.value)
    wirings.check(derived, SIZES)


def test_changing_a_table_changes_the_wiring(tmp_path):
    copy = tmp_path / "mine"
    shutil.copytree(atlas.BUNDLED, copy)
    pairs = copy / "pairs.tsv"
    text = pairs.read_text()
    assert "IPL\tM1\t1191.7" in text
    pairs.write_text(text.replace("IPL\tM1\t1191.7", "IPL\tM1\t11917"))
    new = set(atlas.find(copy).pathways) - set(atlas.find("derived").pathways)
    assert new == {Pathway("IPL", "M1")}
    rules = copy / "rules.tsv"
    rules.write_text(rules.read_text().replace("\t5000\t", "\t12000\t"))
    with pytest.raises(ConfigError, match="area SPL receives nothing"):
        wirings.check(atlas.derive(atlas.load(copy), kept=False), SIZES)


def test_table_of_a_brain():
    brain = atlas.parse(TABLE)
    wirings.check(brain, SIZES)
    assert brain.area("P") == Area(
        "P", 8, recurrent=True, cell="gru", label="parietal cortex"
    )
    assert brain.area("M") == Area("M", 10, recurrent=True, label="motor cortex")
    assert brain.sources("P") == ("S", "vision", "S")
    assert brain.inputs("M") == (
        Pathway("F", "M"), Pathway("S", "M"),
        Pathway("M", "M", delayed=True), Pathway("P", "M", delayed=True),
    )  # fmt: skip
    assert brain.value_units == (16, 4)
    bare = "area units receives\nA 4 touch\npolicy - A\nvalue - A,privileged"
    assert atlas.parse(bare).value_units == (512, 512)


def random_wiring(rng):
    """Areas in a row, random pathways forward, random delayed ones any way."""
    names = [f"A{i}" for i in range(rng.randint(1, 7))]
    areas = tuple(
        Area(
            n, rng.randint(1, 50), rng.randint(1, 3), recurrent := rng.random() < 0.5,
            rng.choice([None, "gru"]) if recurrent else None, rng.choice(["", "x y"]),
        )
        for n in names
    )  # fmt: skip
    pathways = [Pathway("touch", n) for n in names]
    pathways += [
        Pathway(a, b)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if rng.random() < 0.4
    ]
    pathways += [
        Pathway(a, b, delayed=True) for a in names for b in names if rng.random() < 0.15
    ]
    pathways.sort(key=lambda p: (p.delayed, names.index(p.target)))
    return Wiring(areas, tuple(pathways), tuple(names), ("privileged",), (3, 4))


@pytest.mark.parametrize("seed", range(20))
def test_table_round_trip(seed):
    brain = random_wiring(random.Random(seed))
    again = atlas.parse(atlas.render(brain, "a note"))
    assert again == brain
    for name in atlas.PRESETS:
        assert atlas.parse(atlas.render(atlas.find(name))) == atlas.find(name)


@pytest.mark.parametrize("seed", range(40))
def test_blocks_follow_all_that_they_receive(seed):
    """Every area once; what comes from outside a block was computed before it, however
    late it is received; in a block of several each area can reach every other."""
    brain = random_wiring(random.Random(seed))
    seen = {"touch"}
    blocks = wirings.blocks(brain)
    for block in blocks:
        inside = set()
        for area in block:
            sources = {p.source for p in brain.inputs(area.name) if not p.delayed}
            assert sources <= seen | inside, "order within a control step"
            inside.add(area.name)
        late = {p.source for a in block for p in brain.inputs(a.name) if p.delayed}
        assert late <= seen | inside
        if len(block) > 1:
            for area in block:
                others = {p.target for p in brain.pathways if p.source == area.name}
                assert others & inside
        seen |= inside
    assert sorted(a.name for b in blocks for a in b) == sorted(
        a.name for a in brain.areas
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("feedback  label", "feedbacks label", "column feedbacks is unknown"),
        ("units ", "size  ", "lacks the column units"),
        ("policy  -", "polizy  -", "lacks the row policy"),
        ("8      1", "eight  1", "line 4: units is 'eight': give a number"),
        ("8      1", "8,9    1", "area P needs one number of units"),
        ("M                      -         -\n", "M\n", "line 7: 5 entries under 7"),
        (
            "-     M                      -  ",
            "-     M    M  ",
            "the row policy has only receives, no feedback",
        ),
        ("goal,P  ", "goal,,P ", "give a text"),
        ("policy  -      -", "policy  64     -", "policy has only receives, no units"),
        ("policy  -      -", "policy  -      3", "policy has only receives, no layers"),
        ("value   16,4   -", "value   16,4   3", "has only units and receives, no lay"),
        ("value   16,4", "policy  - - - M - -\nvalue 16,4", "has the row policy twice"),
        ("value   16,4", "value - - - M - -\nvalue 16,4", "has the row value twice"),
    ],
)
def test_a_wrong_table_is_one_line(old, new, words):
    assert old in TABLE
    with pytest.raises(ConfigError, match=words) as caught:
        atlas.parse(TABLE.replace(old, new, 1), "mine.tsv")
    assert str(caught.value).startswith("mine.tsv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("goal,P  ", "goal,M  ", r"cycle: F -> M -> F; delay one"),
        ("goal,P  ", "goal,Q  ", r"pathway Q -> F leads from or to nothing"),
        ("M,P  ", "M,Q  ", r"pathway Q ~> M leads from or to nothing"),
        ("M,P  ", "goal ", r"goal ~> M: only an area's activity comes delayed"),
        ("goal,P  ", "privileged,P", r"privileged -> F: only the value head"),
        ("S       12", "S       0 ", "area S has 0 units"),
        ("S       12     2", "S       12     0", "area S has 12 units in 0 layers"),
        ("value   16,4", "value   16,0", "value head has layers of 16, 0 units"),
        ("gru ", "gro ", "cell 'gro' not found"),
    ],
)
def test_impossible_brain_is_refused_before_the_run(tmp_path, smoke, old, new, words):
    assert old in TABLE
    path = tmp_path / "mine.tsv"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(ConfigError, match=words) as caught:
        presets.check(config(smoke, atlas=str(path)), num_devices=1)
    assert "\n" not in str(caught.value)


def test_unknown_atlas_is_refused(smoke):
    with pytest.raises(ConfigError, match="angorapy_v2, derived, a folder"):
        presets.check(config(smoke, atlas="angorapy_v3"), num_devices=1)


@pytest.mark.parametrize(
    "option", [{"atlas": "derived"}, {"recurrent": "all"}, {"feedback": "all"}]
)
def test_options_of_areas_are_refused_where_there_are_none(smoke, option):
    presets.check(config(smoke, **option), num_devices=1)
    with pytest.raises(ConfigError, match="mlp has no areas: leave it out"):
        presets.check(config(smoke, name="mlp", **option), num_devices=1)
    # A function of one's own may make something of them.
    presets.check(config(smoke, name="own:build", **option), num_devices=1)


def test_option_recurrent():
    brain = atlas.find("angorapy_v2")

    def recurrent(option):
        areas = options.with_recurrence(brain, option).areas
        return {a.name: a.cell for a in areas if a.recurrent}

    assert recurrent("table") == {"PMC": None}
    assert recurrent("none") == {}
    assert recurrent("all") == dict.fromkeys([a.name for a in brain.areas])
    assert recurrent("LPFC:gru, M1") == {"LPFC": "gru", "M1": None}
    for wrong, words in (
        ("PCM", "did you mean PMC"),
        ("PMC:gro", "cell 'gro'"),
        ("IT:gru", "'IT', but V1 to IT take neither"),
    ):
        with pytest.raises(ConfigError, match=words):
            recurrent(wrong)


def test_option_feedback():
    brain = atlas.parse(TABLE)

    def feedback(option):
        pathways = options.with_feedback(brain, option).pathways
        assert {p for p in pathways if not p.delayed} == {
            p for p in brain.pathways if not p.delayed
        }
        return [(p.source, p.target) for p in pathways if p.delayed]

    assert feedback("table") == [("M", "F"), ("M", "M"), ("P", "M")]
    assert feedback("none") == []
    assert feedback("all") == [("P", "S"), ("F", "P"), ("M", "F"), ("M", "S")]
    assert feedback("M:P,F:P") == [("M", "P"), ("F", "P")]
    for wrong, words in (
        ("M", "SOURCE:TARGET"),
        ("M:X", "'X', which is no area"),
        ("P:IT", "'IT', but V1 to IT take neither recurrence nor feedback"),
    ):
        with pytest.raises(ConfigError, match=words):
            feedback(wrong)


def test_option_dropout(smoke):
    cfg = NetworkConfig(stream_dropout=0.25, dropout_streams="vision, touch")
    assert options.dropped_streams(cfg) == (("vision", 0.25), ("touch", 0.25))
    assert options.dropped_streams(NetworkConfig()) == ()
    for wrong in ("sight", "privileged"):
        bad = config(smoke, stream_dropout=0.5, dropout_streams=wrong)
        with pytest.raises(ConfigError, match=f"'{wrong}'.*available: vision"):
            presets.check(bad, num_devices=1)
    with pytest.raises(ConfigError, match="at most 1"):
        presets.check(config(smoke, stream_dropout=1.5), num_devices=1)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("table", ["angorapy_v2", "derived", "own"])
def test_pathway_counts_add_up_to_the_areas(table, cell, tmp_path):
    """Weights of all pathways into an area, its biases, and its own recurrence."""
    name = table
    if table == "own":
        (tmp_path / "own.tsv").write_text(TABLE)
        name = str(tmp_path / "own.tsv")
    module = networks.build(NetworkConfig(atlas=name, cell=cell), SIZES, 30)
    shapes = jax.eval_shape(
        lambda key: networks.init(module, key, SIZES), jax.random.key(0)
    )
    counts = networks.parameter_counts(shapes)
    brain = module.wiring
    total = dict.fromkeys(counts, 0)
    for pathway, count in networks.pathway_counts(brain, SIZES, 30, cell):
        head = pathway.target in wirings.HEADS
        total[pathway.target + "_head" * head] += count
    gates = {"lstm": 4, "gru": 3, "rnn": 1}
    for area in brain.areas:
        n, kind = area.units, area.cell or cell
        if not area.recurrent:
            total[area.name] += n + (area.layers - 1) * (n * n + n)
        else:
            g = gates[kind]
            total[area.name] += g * (n * n + n) + (3 * n if kind == "gru" else 0)
    widths = (*brain.value_units, 1)
    total["value_head"] += sum(widths)
    total["value_head"] += sum(a * b for a, b in itertools.pairwise(widths))
    total["policy_head"] += 30
    assert total == counts


def test_run_keeps_its_own_copy(tmp_path, smoke):
    """After a run has begun its source may change, and the folder may move."""
    source = tmp_path / "mine.tsv"
    source.write_text(TABLE)
    cfg = config(smoke, atlas=str(source))
    run = runs.prepare(tmp_path / "run", cfg)
    kept = sorted(p.name for p in run.iterdir())
    assert kept == [lock.FILE, "config.json", "network.tsv"]
    source.unlink()
    moved = run.rename(tmp_path / "moved")
    found = runs.read_config(moved)
    brain = atlas.parse(TABLE)
    assert atlas.find(found.network.atlas) == brain
    presets.check(found, num_devices=1)
    # Resumed: the same brain, and config.json still names where it came from.
    resumed, options_ = cli.parse_config(["--resume", str(moved)])
    cli.prepare_out(options_, resumed)
    assert str(source) in (moved / "config.json").read_text()
    assert atlas.find(runs.read_config(moved).network.atlas) == brain


def test_copy_says_where_a_folder_came_from(tmp_path, smoke):
    folder = tmp_path / "tables"
    shutil.copytree(atlas.BUNDLED, folder)
    run = runs.prepare(tmp_path / "run", config(smoke, atlas=str(folder)))
    text = (run / "network.tsv").read_text()
    assert "pairs.tsv: version Julich-Brain 2.9" in text
    assert "cohort HCP" in text
    assert atlas.parse(text) == atlas.find("derived")


def test_a_network_that_its_copy_could_not_give_is_refused(
    tmp_path, smoke, monkeypatch
):
    """Before training, since what is trained could not be read again."""
    source = tmp_path / "mine.tsv"
    source.write_text(TABLE)
    brain = atlas.parse(TABLE)
    label = dataclasses.replace(brain.areas[0], label="area 4 (#1)")
    for wrong, words in (
        (dataclasses.replace(brain, value_units=()), "network.tsv, would give another"),
        (
            dataclasses.replace(brain, areas=(label, *brain.areas[1:])),
            "label of area S",
        ),
    ):
        monkeypatch.setattr(atlas, "find", lambda _, wrong=wrong: wrong)
        with pytest.raises(ConfigError, match=words):
            runs.prepare(tmp_path / "run", config(smoke, atlas=str(source)))
        assert not (tmp_path / "run" / "config.json").exists()


def test_a_table_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text(TABLE.strip(), encoding="utf-8-sig")
    assert atlas.find(path) == atlas.parse(TABLE)


def test_short_option():
    for argv in (["--atlas", "derived"], ["--atlas=derived"]):
        assert cli.parse_config(["smoke", *argv])[0].network.atlas == "derived"
