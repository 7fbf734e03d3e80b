"""Feedback, recurrence, lesions and dropout of the FPN, against plain loops and surgery."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjxhand import atlas, networks
from mjxhand import wiring as wirings
from mjxhand.config import ConfigError, NetworkConfig
from mjxhand.networks import dropout, lesions, options
from mjxhand.networks.fpn import FPN

SIZES = {"vision": 3, "touch": 5, "goal": 2, "privileged": 4}
STEPS, BATCH, OUTPUTS = 9, 4, 6

# Loops: B ~> A (over a pathway), C ~> C (itself), D ~> B (a recurrent area's hidden
# state); and A ~> E, late but no loop.
TABLE = """
area    units  layers  cell  receives           feedback
A       5      2       -     touch,vision       B
B       4      1       -     A,goal             D
C       3      1       -     A                  C
D       6      1       rnn   B,C,A              -
E       4      1       gru   D,vision           A
policy  -      -       -     D,E                -
value   8      -       -     B,C,E,privileged   -
"""


@functools.cache
def made(table=TABLE, feedback="table"):
    """Module and parameters with random biases."""
    wiring = options.with_feedback(atlas.parse(table), feedback)
    wirings.check(wiring, SIZES)
    module = FPN(wiring, OUTPUTS)
    params = jax.jit(lambda key: networks.init(module, key, SIZES))(jax.random.key(1))
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda p: jnp.asarray(p + rng.normal(0, 0.2, p.shape), jnp.float32), params
    )
    return module, params, jax.jit(module.apply)


def senses(seed=0, steps=STEPS):
    rng = np.random.default_rng(seed)
    obs = {
        name: jnp.asarray(rng.normal(size=(steps, BATCH, size)), jnp.float32)
        for name, size in SIZES.items()
    }
    return obs, jnp.asarray(rng.random((steps, BATCH)) < 0.2)


def random_carry(module, seed=2):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: jnp.asarray(rng.random(x.shape), jnp.float32),
        module.initial_carry(BATCH),
    )


def same(a, b, atol=2e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), a, b)


def by_loop(params, carry, obs, reset, forgets=()):
    """TABLE's areas in numpy, one step at a time; those in `forgets` have no memory."""
    p = jax.tree.map(np.asarray, params["params"])
    last = {k: np.array(v.get("activity", v.get("hidden"))) for k, v in carry.items()}

    def dense(name, x, layer="layer1"):
        return np.maximum(x @ p[name][layer]["kernel"] + p[name][layer]["bias"], 0)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    rows = []
    for t in range(STEPS):
        o = {k: np.asarray(v[t]) for k, v in obs.items()}
        last = {k: np.where(reset[t][:, None], 0, v) for k, v in last.items()}

        def cat(*parts):
            return np.concatenate(parts, axis=-1)

        own = {k: np.zeros_like(v) if k in forgets else v for k, v in last.items()}
        new = {}
        new["A1"] = dense("A", cat(o["touch"], o["vision"], last["B"]))
        new["A"] = dense("A", new["A1"], "layer2")
        new["B"] = dense("B", cat(new["A"], o["goal"], last["D"]))
        new["C"] = dense("C", cat(new["A"], last["C"]))
        d = p["D"]["recurrent"]
        x = cat(new["B"], new["C"], new["A"])
        new["D"] = np.tanh(
            x @ d["kernel"] + d["bias"] + own["D"] @ d["recurrent_kernel"]
        )
        e = p["E"]["recurrent"]
        x = cat(new["D"], o["vision"], last["A"]) @ e["kernel"] + e["bias"]
        h = own["E"] @ e["recurrent_kernel"] + e["recurrent_bias"]
        z, r = sigmoid(x[:, :4] + h[:, :4]), sigmoid(x[:, 4:8] + h[:, 4:8])
        n = np.tanh(x[:, 8:] + r * h[:, 8:])
        new["E"] = z * own["E"] + (1 - z) * n
        rows.append(new)
        last = {name: new[name] for name in last}
    return {k: np.stack([row[k] for row in rows]) for k in rows[0]}, last


def test_feedback_equals_a_plain_loop():
    module, params, run = made()
    assert [[a.name for a in b] for b in wirings.blocks(module.wiring)] == [
        ["A", "B", "C", "D"], ["E"],
    ]  # fmt: skip
    carry = random_carry(module)
    assert {k: set(v) for k, v in carry.items()} == {
        "A": {"activity"}, "B": {"activity"}, "C": {"activity"},
        "D": {"hidden"}, "E": {"hidden"},
    }  # fmt: skip
    obs, reset = senses()
    new, out = run(params, carry, obs, reset)
    areas, last = by_loop(params, carry, obs, np.asarray(reset))
    assert set(areas) == set(out.areas)
    same(areas, {k: np.asarray(v) for k, v in out.areas.items()}, atol=1e-5)
    same({k: next(iter(v.values())) for k, v in new.items()}, last, atol=1e-5)


@pytest.mark.parametrize("feedback", ["table", "all"])
def test_chunks_with_carry_equal_the_whole(feedback):
    """As the learner replays a rollout from stored carries."""
    module, params, run = made(feedback=feedback)
    obs, reset = senses(3)
    whole_carry, whole = run(params, random_carry(module), obs, reset)
    carry, outs = random_carry(module), []
    for part in (slice(0, 4), slice(4, STEPS)):
        cut = {k: v[part] for k, v in obs.items()}
        carry, out = run(params, carry, cut, reset[part])
        outs.append(out)
    same(jax.tree.map(lambda *x: jnp.concatenate(x), *outs), whole)
    same(carry, whole_carry)
    assert jax.tree.structure(carry) == jax.tree.structure(module.initial_carry(BATCH))


def test_feedback_takes_one_step_and_the_way_back():
    """In a chain A -> B -> C with all ways back, C's input reaches A two steps later."""
    table = """
    area    units  receives    feedback
    A       4      touch       -
    B       4      A           -
    C       4      B,vision    -
    policy  -      A           -
    value   8      C,privileged -
    """
    module, params, run = made(table, "all")
    obs, reset = senses(4)
    reset = jnp.zeros_like(reset).at[6].set(True)
    base = run(params, module.initial_carry(BATCH), obs, reset)[1].areas
    obs |= {"vision": obs["vision"].at[1].add(3.0)}
    moved = run(params, module.initial_carry(BATCH), obs, reset)[1].areas
    changed = {
        k: np.flatnonzero((np.asarray(base[k]) != np.asarray(moved[k])).any((1, 2)))
        for k in base
    }
    assert changed["C"][0] == 1
    assert changed["B"][0] == 2
    assert changed["A"][0] == 3
    assert max(t.max() for t in changed.values()) < 6, "an episode begins at 6"


def test_feedback_of_no_weight_changes_nothing():
    plain, weights, run_plain = made(feedback="none")
    looped, _, run_looped = made(feedback="all")
    grown = jax.tree.map(lambda x: x, weights)
    for area in looped.wiring.areas:
        layer = "recurrent" if area.recurrent and area.layers == 1 else "layer1"
        kernel = weights["params"][area.name][layer]["kernel"]
        late = sum(
            looped.wiring.area(p.source).units
            for p in looped.wiring.inputs(area.name)
            if p.delayed
        )
        wide = jnp.concatenate([kernel, jnp.zeros((late, kernel.shape[1]))])
        grown["params"][area.name][layer]["kernel"] = wide
    obs, reset = senses(5)
    a = run_plain(weights, plain.initial_carry(BATCH), obs, reset)[1]
    b = run_looped(grown, looped.initial_carry(BATCH), obs, reset)[1]
    same(a, b)


def test_own_cells_and_recurrence():
    cfg = NetworkConfig(units_scale=0.02, recurrent="PMC,LPFC:gru,SSC:rnn")
    sizes = SIZES | {"proprioception": 6}
    module = networks.build(cfg, sizes, OUTPUTS)
    carry = module.initial_carry(2)
    assert {k: set(v) for k, v in carry.items()} == {
        "SSC": {"hidden"}, "LPFC": {"hidden"}, "PMC": {"cell", "hidden"},
    }  # fmt: skip
    params = jax.eval_shape(
        lambda k: networks.init(module, k, sizes), jax.random.key(0)
    )
    lpfc = params["params"]["LPFC"]["recurrent"]
    assert lpfc["kernel"].shape[1] == 3 * module.wiring.area("LPFC").units
    assert set(params["params"]["SSC"]) == {"layer1", "recurrent"}


def rows_of(module, pathway):
    """Kernel rows that belong to a pathway of an area."""
    start = 0
    for p in module.wiring.inputs(pathway.target):
        sizes = SIZES | {a.name: a.units for a in module.wiring.areas}
        end = start + sizes[p.source]
        if p == pathway:
            return slice(start, end)
        start = end
    raise AssertionError(pathway)


def cut_weights(module, params, pathways):
    """Surgery: the weights of these pathways set to zero."""
    params = jax.tree.map(lambda x: x, params)
    for p in pathways:
        if p.target in wirings.HEADS:
            module_name = f"{p.target}_head"
            reads = getattr(module.wiring, p.target)
            sizes = SIZES | {a.name: a.units for a in module.wiring.areas}
            start = sum(sizes[n] for n in reads[: reads.index(p.source)])
            rows = slice(start, start + sizes[p.source])
            layer = params["params"][module_name]
            layer = layer if p.target == "policy" else layer["layer1"]
        else:
            rows = rows_of(module, p)
            area = module.wiring.area(p.target)
            name = "recurrent" if area.recurrent and area.layers == 1 else "layer1"
            layer = params["params"][p.target][name]
        layer["kernel"] = layer["kernel"].at[rows].set(0.0)
    return params


CUTS = [
    name
    for name, lesion in lesions.single(atlas.parse(TABLE)).items()
    if "memories" not in lesion
]


@pytest.mark.parametrize("name", sorted(CUTS))
def test_lesion_equals_cutting_the_weights(name):
    """Each area, stream and pathway alone, at run time and by surgery on the kernels."""
    module, params, run = made()
    (lesion,) = [v for k, v in lesions.single(module.wiring).items() if k == name]
    cut = [
        p
        for p in module.wiring.all_pathways
        if p.source in lesion.get("areas", ()) or str(p) in lesion.get("pathways", ())
    ]
    assert cut
    obs, reset = senses(6)
    carry = random_carry(module)
    got = run(lesions.apply(params, module.wiring, **lesion), carry, obs, reset)
    expected = run(cut_weights(module, params, cut), carry, obs, reset)
    same(got[0], expected[0])
    same(got[1].logits, expected[1].logits)
    same(got[1].value, expected[1].value)
    whole = run(params, carry, obs, reset)[1]
    assert (
        np.abs(whole.logits - got[1].logits).max()
        + np.abs(whole.value - got[1].value).max()
        > 1e-6
    ), "the lesion changes something"
    for area in lesion.get("areas", ()):
        if area in got[1].areas:
            assert (got[1].areas[area] == 0).all()


@pytest.mark.parametrize("forgets", [["D"], ["E"], ["D", "E"]])
def test_memory_lesion_equals_a_plain_loop(forgets):
    """D, in a loop and heard late by B, forgets its own past; B hears of it all the same."""
    module, params, run = made()
    obs, reset = senses(5)
    carry = random_carry(module)
    lesioned = lesions.apply(params, module.wiring, memories=forgets)
    after, out = run(lesioned, carry, obs, reset)
    areas, last = by_loop(params, carry, obs, reset, forgets)
    for name, activity in areas.items():
        np.testing.assert_allclose(out.areas[name], activity, atol=2e-5, err_msg=name)
    np.testing.assert_allclose(after["D"]["hidden"], last["D"], atol=2e-5)
    intact = run(params, carry, obs, reset)[1]
    assert np.abs(intact.logits - out.logits).max() > 1e-4


def test_part_of_a_memory_and_half_of_it():
    module, params, run = made()
    obs, reset = senses(5)
    carry = random_carry(module)
    whole, none = (
        run(lesions.apply(params, module.wiring, memories=m), carry, obs, reset)[1]
        for m in ((), ["D"])
    )
    some = {"D": jnp.array([[1.0], [0.0], [1.0], [0.0]])}
    mixed = run(lesions.apply(params, module.wiring, memories=some), carry, obs, reset)[
        1
    ]
    same(mixed.logits[:, ::2], whole.logits[:, ::2])
    same(mixed.logits[:, 1::2], none.logits[:, 1::2])


def test_intact_changes_nothing_and_all_lesions_share_one_program():
    module, params, _ = made()
    run = jax.jit(module.apply)
    obs, reset = senses(7)
    carry = module.initial_carry(BATCH)
    whole = module.apply(params, carry, obs, reset)
    same(run(lesions.apply(params, module.wiring), carry, obs, reset), whole)
    for lesion in lesions.single(module.wiring).values():
        run(lesions.apply(params, module.wiring, **lesion), carry, obs, reset)
    assert run._cache_size() == 1


def test_many_lesions_at_once():
    module, params, run = made()
    obs, reset = senses(8)
    carry = module.initial_carry(BATCH)
    each = list(lesions.single(module.wiring).values())
    stacked = {**params, "lesion": lesions.stack(module.wiring, each)}
    axes = ({"params": None, "lesion": 0}, None, None, None)
    _, outs = jax.jit(jax.vmap(module.apply, in_axes=axes))(stacked, carry, obs, reset)
    for i in (0, 5, len(each) - 1):
        one = lesions.apply(params, module.wiring, **each[i])
        same(outs.logits[i], run(one, carry, obs, reset)[1].logits)


def test_a_lesion_in_each_environment_and_of_part_of_an_area():
    module, params, run = made()
    obs, reset = senses(9)
    carry = random_carry(module)
    whole = run(params, carry, obs, reset)[1]
    silent = run(lesions.apply(params, module.wiring, ["B"]), carry, obs, reset)[1]
    gain = jnp.array([1.0, 0.0, 1.0, 0.0])[:, None]
    mixed = lesions.apply(params, module.wiring, {"B": gain})
    mixed = run(mixed, carry, obs, reset)[1]
    same(mixed.logits[:, ::2], whole.logits[:, ::2])
    same(mixed.logits[:, 1::2], silent.logits[:, 1::2])
    half = lesions.apply(params, module.wiring, {"B": jnp.array([1.0, 1.0, 0.0, 0.0])})
    half = run(half, carry, obs, reset)[1]
    assert (half.areas["B"][..., 2:] == 0).all()
    assert (half.areas["B"][..., :2] != 0).any()
    # Doubled for all its readers, C's activity is recorded doubled too; of episodes that
    # begin, since others are told of it a step before.
    twice = run(lesions.apply(params, module.wiring, {"C": 2.0}), carry, obs, reset)[1]
    begin = np.asarray(reset[0])
    assert begin.any()
    same(twice.areas["C"][0, begin], 2 * whole.areas["C"][0, begin])


def test_an_area_held_at_a_level_gives_it_at_every_step():
    module, params, run = made()
    obs, reset = senses(9)
    carry = module.initial_carry(BATCH)
    whole = run(params, carry, obs, reset)[1]
    mean = whole.areas["B"].mean((0, 1))
    held = lesions.apply(params, module.wiring, ["B"], levels={"B": mean})
    out = run(held, carry, obs, reset)[1]
    np.testing.assert_allclose(
        out.areas["B"], np.broadcast_to(mean, out.areas["B"].shape), atol=1e-6
    )
    silent = run(lesions.apply(params, module.wiring, ["B"]), carry, obs, reset)[1]
    for other in (whole, silent):
        assert np.abs(out.logits - other.logits).max() > 1e-5
    with pytest.raises(ConfigError, match=r"no 'X' among the levels"):
        lesions.apply(params, module.wiring, levels={"X": 0.0})


@pytest.mark.parametrize("way_back", ["-", "Y"], ids=["sweep", "loop"])
def test_an_area_held_at_a_level_is_heard_late_from_the_second_step_on(way_back):
    """Whether or not a loop makes it computed step by step."""
    table = f"""
    area    units  receives    feedback
    X       4      touch       {way_back}
    Y       4      vision      X
    policy  -      Y           -
    value   8      Y,privileged -
    """
    module, params, run = made(table)
    reset = jnp.zeros((3, BATCH), bool).at[0].set(True).at[2, 1].set(True)
    obs = {name: jnp.zeros((3, BATCH, size)) for name, size in SIZES.items()}
    held = lesions.apply(params, module.wiring, ["X"], levels={"X": 2.0 * jnp.ones(4)})
    out = run(held, module.initial_carry(BATCH), obs, reset)[1].areas["Y"]
    layer = params["params"]["Y"]["layer1"]
    rows = rows_of(module, wirings.Pathway("X", "Y", delayed=True))
    first = jnp.maximum(layer["bias"], 0)
    later = jnp.maximum(layer["bias"] + 2.0 * layer["kernel"][rows].sum(0), 0)
    assert np.abs(first - later).max() > 0.1
    expected = jnp.where(reset[..., None], first, later)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_no_gradient_reaches_a_lesion():
    module, params, _ = made()
    obs, reset = senses(10)
    lesioned = lesions.apply(params, module.wiring, ["C"])

    def total(variables):
        out = module.apply(variables, module.initial_carry(BATCH), obs, reset)[1]
        return out.logits.sum() + out.value.sum()

    gradient = jax.jit(jax.grad(total))(lesioned)
    assert all((g == 0).all() for g in jax.tree.leaves(gradient["lesion"]))
    assert any((g != 0).any() for g in jax.tree.leaves(gradient["params"]))


def test_unknown_lesions_are_refused():
    module, params, _ = made()
    with pytest.raises(ConfigError, match=r"no 'X' among the areas .*available: A, B"):
        lesions.apply(params, module.wiring, ["X"])
    with pytest.raises(ConfigError, match=r"'A -> Z'.*did you mean A -> "):
        lesions.apply(params, module.wiring, pathways=["A -> Z"])
    with pytest.raises(
        ConfigError, match=r"no 'A' among the memories .*available: D, E"
    ):
        lesions.apply(params, module.wiring, memories=["A"])


def with_dropout(rates):
    module, params, _ = made()
    return dataclasses.replace(module, stream_dropout=rates), params


def test_a_sense_is_silent_for_whole_episodes():
    module, _ = with_dropout((("vision", 0.3), ("goal", 0.6)))
    carry = module.initial_carry(500, jax.random.key(3))
    reset = jnp.zeros((40, 500), bool).at[0].set(True)
    reset = reset.at[10].set(True).at[25, ::2].set(True)
    obs = {k: jnp.ones((40, 500, n)) for k, n in SIZES.items()}
    after, heard = dropout.apply(carry, module.stream_dropout, obs, reset)
    assert (heard["touch"] == 1).all()
    assert (heard["privileged"] == 1).all()
    vision = np.asarray(heard["vision"])
    assert set(np.unique(vision)) == {0.0, 1.0}
    assert (vision == vision[..., :1]).all(), "all of a stream, or nothing"
    for start, end in ((0, 10), (10, 25), (25, 40)):
        assert (vision[start:end] == vision[start]).all()
    for stream, rate in (("vision", 0.3), ("goal", 0.6)):
        x = np.asarray(heard[stream])[..., 0]
        assert 1 - x[[0, 10]].mean() == pytest.approx(rate, abs=0.05)
    episodes = np.asarray(heard["goal"])[[0, 10]][..., 0]
    assert abs(np.corrcoef(episodes)[0, 1]) < 0.15, "redrawn at each start"
    both = np.corrcoef(vision[0, :, 0], np.asarray(heard["goal"])[0, :, 0])
    assert abs(both[0, 1]) < 0.15, "streams independent"
    # A replay in chunks hears the same.
    middle, first = dropout.apply(
        carry, module.stream_dropout, {k: v[:16] for k, v in obs.items()}, reset[:16]
    )
    end, second = dropout.apply(
        middle, module.stream_dropout, {k: v[16:] for k, v in obs.items()}, reset[16:]
    )
    np.testing.assert_array_equal(
        np.concatenate([first["vision"], second["vision"]]), vision
    )
    np.testing.assert_array_equal(
        end["streams"]["episode"], after["streams"]["episode"]
    )


def test_dropout_silences_the_network_and_spares_evaluation():
    module, params = with_dropout((("vision", 1.0),))
    run = jax.jit(module.apply)
    obs, reset = senses(11)
    plain, _, run_plain = made()
    trained = run(params, module.initial_carry(BATCH, jax.random.key(0)), obs, reset)
    blind = {**obs, "vision": jnp.zeros_like(obs["vision"])}
    expected = run_plain(params, plain.initial_carry(BATCH), blind, reset)[1]
    same(trained[1], expected)
    evaluated = run(params, module.initial_carry(BATCH), obs, reset)
    same(evaluated[1], run_plain(params, plain.initial_carry(BATCH), obs, reset)[1])
    assert jax.tree.structure(trained[0]) == jax.tree.structure(
        module.initial_carry(BATCH, jax.random.key(0))
    )


@pytest.mark.parametrize("name", ["fpn", "baseline", "mlp"])
def test_every_network_that_is_asked_to_loses_the_sense_in_training(name):
    """Its setting reaches the network, and the carry that a key makes; no other carry."""
    cfg = NetworkConfig(
        name=name, units_scale=0.02, stream_dropout=1.0, dropout_streams="touch"
    )
    sizes = SIZES | {"proprioception": 6}
    module = networks.build(cfg, sizes, OUTPUTS)
    params = networks.init(module, jax.random.key(1), sizes)
    obs, reset = senses(12)
    obs["proprioception"] = jnp.ones((STEPS, BATCH, 6))
    other = obs | {"touch": obs["touch"] + 1.0}
    run = jax.jit(module.apply)
    for key, same_logits in ((jax.random.key(2), True), (None, False)):
        carry = module.initial_carry(BATCH, key)
        a, b = (run(params, carry, each, reset)[1].logits for each in (obs, other))
        assert bool((a == b).all()) == same_logits
