"""Recurrent layers against independent references; networks by count and wiring."""

import copy
import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mjxhand import networks
from mjxhand import wiring as wirings
from mjxhand.config import ConfigError, NetworkConfig
from mjxhand.networks import layers
from mjxhand.networks.recurrent import CELLS, Recurrent

SIZES = {"vision": 7, "proprioception": 48, "touch": 92, "goal": 4, "privileged": 25}
OUTPUTS = 220
SMALL = NetworkConfig(units_scale=0.05)
BASELINE = NetworkConfig(name="baseline", units_scale=0.02)


def random_obs(seed, *shape):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=(*shape, size)), jnp.float32)
        for name, size in SIZES.items()
    }


@functools.cache
def small(cfg=SMALL):
    """Module and fresh parameters; nobody may write to them."""
    module = networks.build(cfg, SIZES, OUTPUTS)
    init = jax.jit(lambda key: networks.init(module, key, SIZES))
    return module, init(jax.random.key(0))


@functools.cache
def jitted(module):
    return jax.jit(module.apply)


def run(cfg, obs, reset):
    """`Output` of the small network from the initial carry."""
    module, params = small(cfg)
    carry = module.initial_carry(reset.shape[1])
    return jitted(module)(params, carry, obs, reset)


def layer(cell, units=6, inputs=5, steps=8, batch=3):
    """A recurrent layer with random biases, a random carry, input."""
    module = Recurrent(units, cell)
    keys = iter(jax.random.split(jax.random.key(1), 16))
    x = jax.random.normal(next(keys), (steps, batch, inputs))
    carry = {
        name: 0.5 * jax.random.normal(next(keys), v.shape)
        for name, v in module.initial_carry(batch).items()
    }
    reset = jnp.zeros((steps, batch), bool)
    params = module.init(next(keys), carry, (x,), reset)
    params = jax.tree.map(
        lambda p: p + 0.3 * jax.random.normal(next(keys), p.shape), params
    )
    return module, params, carry, x, reset


def run_reference(cell, params, carry, x):
    """Hidden states by a reference written by someone else, or a plain loop."""
    p = params["params"]
    hidden = []
    if cell == "lstm":
        split = {k: jnp.split(v, 4, axis=-1) for k, v in p.items()}
        theirs = {}
        for i, gate in enumerate("ifgo"):
            theirs[f"i{gate}"] = {"kernel": split["kernel"][i]}
            theirs[f"h{gate}"] = {
                "kernel": split["recurrent_kernel"][i],
                "bias": split["bias"][i],
            }
        module = nn.OptimizedLSTMCell(carry["hidden"].shape[-1])
        state = (carry["cell"], carry["hidden"])
        for x_t in x:
            state, h = module.apply({"params": theirs}, state, x_t)
            hidden.append(h)
    elif cell == "rnn":
        theirs = {
            "i": {"kernel": p["kernel"], "bias": p["bias"]},
            "h": {"kernel": p["recurrent_kernel"]},
        }
        module = nn.SimpleCell(carry["hidden"].shape[-1])
        h = carry["hidden"]
        for x_t in x:
            h, _ = module.apply({"params": theirs}, h, x_t)
            hidden.append(h)
    else:
        hidden = gru_loop({k: np.asarray(v) for k, v in p.items()}, carry["hidden"], x)
    return np.stack(hidden)


def gru_loop(p, h, x):
    def sigmoid(v):
        return 1.0 / (1.0 + np.exp(-v))

    h, hidden = np.asarray(h), []
    n = h.shape[-1]
    for x_t in np.asarray(x):
        a = x_t @ p["kernel"] + p["bias"]
        b = h @ p["recurrent_kernel"] + p["recurrent_bias"]
        z = sigmoid(a[:, :n] + b[:, :n])
        r = sigmoid(a[:, n : 2 * n] + b[:, n : 2 * n])
        candidate = np.tanh(a[:, 2 * n :] + r * b[:, 2 * n :])
        h = z * h + (1.0 - z) * candidate
        hidden.append(h)
    return hidden


@pytest.mark.parametrize("cell", CELLS)
def test_cell_equals_reference(cell):
    module, params, carry, x, reset = layer(cell)
    last, hidden = module.apply(params, carry, (x,), reset)
    np.testing.assert_allclose(
        hidden, run_reference(cell, params, carry, x), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(last["hidden"], hidden[-1])


@pytest.mark.parametrize("cell", CELLS)
def test_reset_equals_a_fresh_start(cell):
    module, params, carry, x, reset = layer(cell)
    reset = reset.at[3, 1].set(True)
    last, hidden = module.apply(params, carry, (x,), reset)
    plain_last, plain = module.apply(params, carry, (x,), jnp.zeros_like(reset))
    fresh_last, fresh = module.apply(
        params, module.initial_carry(3), (x[3:],), jnp.zeros_like(reset[3:])
    )
    np.testing.assert_allclose(hidden[3:, 1], fresh[:, 1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(hidden[:3], plain[:3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        hidden[:, [0, 2]], plain[:, [0, 2]], rtol=1e-5, atol=1e-6
    )
    assert np.abs(plain[3, 1] - fresh[0, 1]).max() > 1e-3
    for name in last:
        np.testing.assert_allclose(last[name][1], fresh_last[name][1], atol=1e-6)
        np.testing.assert_allclose(last[name][0], plain_last[name][0], atol=1e-6)


def test_reset_ends_a_carry_that_is_not_finite():
    module, params, carry, x, reset = layer("lstm")
    carry = jax.tree.map(lambda c: c * jnp.nan, carry)
    _, hidden = module.apply(params, carry, (x,), reset.at[2].set(True))
    assert np.isnan(hidden[:2]).all()
    assert np.isfinite(hidden[2:]).all()


@pytest.mark.parametrize("cfg", [SMALL, BASELINE], ids=["fpn", "baseline"])
def test_chunks_with_carry_equal_the_whole(cfg):
    """T = 8 as 4 + 4 with the carry handed over, as the learner replays a rollout."""
    module, params = small(cfg)
    obs = random_obs(1, 8, 3)
    reset = jnp.zeros((8, 3), bool).at[0, 0].set(True).at[5, 1].set(True)
    carry = module.initial_carry(3)
    last, whole = jitted(module)(params, carry, obs, reset)
    outs = []
    for part in (slice(0, 4), slice(4, 8)):
        obs_part = {k: v[part] for k, v in obs.items()}
        carry, out = jitted(module)(params, carry, obs_part, reset[part])
        outs.append(out)
    joined = jax.tree.map(lambda *x: jnp.concatenate(x), *outs)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), joined, whole
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), carry, last)


def test_several_sources_equal_their_concatenation():
    module, params, carry, x, reset = layer("gru")
    whole = module.apply(params, carry, (x,), reset)
    parts = module.apply(params, carry, (x[..., :2], x[..., 2:]), reset)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), parts, whole)


def test_gradient_of_a_layer_multiplies_without_transposing():
    """The gradient of a kernel is xᵀ g of rows; XLA's other order, x gᵀ with g transposed in
    memory, takes twice as long (docs/speed.md)."""
    sources = (jnp.ones((16, 64, 13)), jnp.ones((16, 64, 24)))
    layer = layers.Dense(30)
    params = layer.init(jax.random.PRNGKey(0), *sources)

    def loss(params, *sources):
        return jnp.square(nn.tanh(layer.apply(params, *sources))).sum()

    text = jax.jit(jax.grad(loss)).lower(params, *sources).compile().as_text()
    products = re.findall(
        r" dot\(.*lhs_contracting_dims={(\d)}, rhs_contracting_dims={(\d)}", text
    )
    # Two forward, two kernels.
    assert sorted(products) == [("0", "0")] * 2 + [("1", "0")] * 2


def test_recurrent_initialisation():
    module = Recurrent(32, "lstm")
    x = jnp.zeros((1, 1, 40))
    params = module.init(
        jax.random.key(0), module.initial_carry(1), (x,), jnp.zeros((1, 1), bool)
    )["params"]
    limit = np.sqrt(6.0 / (40 + 128))
    assert 0.95 * limit < np.abs(params["kernel"]).max() <= limit
    u = params["recurrent_kernel"]
    np.testing.assert_allclose(u @ u.T, np.eye(32), atol=1e-5)
    np.testing.assert_array_equal(params["bias"].reshape(4, 32).mean(1), [0, 1, 0, 0])


def counts(**settings):
    module = networks.build(NetworkConfig(**settings), SIZES, OUTPUTS)
    shapes = jax.eval_shape(
        lambda k: networks.init(module, k, SIZES), jax.random.key(0)
    )
    return networks.parameter_counts(shapes)


def test_fpn_parameter_counts():
    """AngoraPy's published network, area by area."""
    lstm = counts()
    assert lstm == {
        "SSC": 129_648,
        "SPL": 135_432,
        "IPL": 510_720,
        "IPS": 594_432,
        "MCC": 1_080,
        "LPFC": 443_880,
        "PMC": 1_401_856,
        "M1": 96_864,
        "policy_head": 21_340,
        "value_head": 1_030_145,
    }
    assert sum(lstm.values()) == 4_365_397
    assert sum(lstm.values()) - lstm["value_head"] == 3_335_252
    gru = counts(cell="gru")
    assert sum(gru.values()) - gru["value_head"] == 2_985_556
    assert counts(cell="rnn")["PMC"] == 1112 * 256 + 256 * 256 + 256


def test_baseline_parameter_counts():
    assert counts(name="baseline") == {"policy": 3_416_284, "critic": 3_329_537}


def test_plain_networks():
    """Dense I·O + O; LSTM 4(IH + H² + H); both towers, the critic with the privileged 25."""
    senses, privileged = 151, 25

    def dense(i, o):
        return i * o + o

    def lstm(i, h):
        return 4 * (i * h + h * h + h)

    def mlp(i, out):
        return dense(i, 1024) + dense(1024, 512) + dense(512, out)

    assert counts(name="mlp") == {
        "policy": mlp(senses, OUTPUTS),
        "critic": mlp(senses + privileged, 1),
    }
    assert counts(name="lstm") == {
        "policy": lstm(senses, 512) + dense(512, OUTPUTS),
        "critic": lstm(senses + privileged, 512) + dense(512, 1),
    }


def test_mlp_equals_numpy_and_forgets():
    cfg = NetworkConfig(name="mlp", units_scale=0.02)
    _, params = small(cfg)
    obs = random_obs(12, 3, 2)
    carry, out = run(cfg, obs, jnp.zeros((3, 2), bool))
    assert jax.tree.leaves(carry) == []
    x = np.concatenate(
        [obs[n] for n in ("goal", "proprioception", "touch", "vision")], axis=-1
    )
    for tower, extra in (("policy", []), ("critic", [obs["privileged"]])):
        p = params["params"][tower]
        y = np.concatenate([x, *extra], axis=-1)
        for name in ("dense1", "dense2"):
            y = np.maximum(y @ p[name]["kernel"] + p[name]["bias"], 0.0)
        head = p["logits" if tower == "policy" else "value"]
        y = y @ head["kernel"] + head["bias"]
        expected = out.logits if tower == "policy" else out.value[..., None]
        np.testing.assert_allclose(y, expected, atol=1e-5)


def test_units_scale():
    module = networks.build(NetworkConfig(units_scale=0.125), SIZES, OUTPUTS)
    units = {area.name: area.units for area in module.wiring.areas}
    assert units == {
        "SSC": 37, "SPL": 57, "IPL": 84, "IPS": 43,
        "MCC": 27, "LPFC": 45, "PMC": 32, "M1": 12,
    }  # fmt: skip
    assert module.value_units == (64, 64)
    tiny = networks.build(NetworkConfig(units_scale=1e-3), SIZES, OUTPUTS)
    assert {area.units for area in tiny.wiring.areas} == {4}
    # Full size is what the table says, below 4 too.
    assert [wirings.scale_units(n, 1.0) for n in (0, 1, 3, 5)] == [0, 1, 3, 5]
    assert [wirings.scale_units(n, 0.3) for n in (0, 1, 3, 5, 20)] == [0, 1, 3, 4, 6]
    baseline = networks.build(
        NetworkConfig(name="baseline", units_scale=0.25), SIZES, OUTPUTS
    )
    assert (baseline.dense_units, baseline.recurrent_units) == ((256,), 128)


FPN_AREAS = {
    "SSC1": 15, "SSC": 15, "SPL": 23, "IPL": 34, "IPS": 17,
    "MCC": 11, "LPFC": 18, "PMC": 13, "M1": 5,
}  # fmt: skip


@pytest.mark.parametrize("steps", [1, 16])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("cfg", "areas"),
    [
        (SMALL, FPN_AREAS),
        (BASELINE, {"dense": 20, "recurrent": 10}),
        (dataclasses.replace(BASELINE, name="mlp"), {"dense1": 20, "dense2": 10}),
        (dataclasses.replace(BASELINE, name="lstm"), {"recurrent": 10}),
    ],
    ids=["fpn", "baseline", "mlp", "lstm"],
)
def test_shapes(cfg, areas, cell, steps):
    module = networks.build(dataclasses.replace(cfg, cell=cell), SIZES, OUTPUTS)
    params = jax.eval_shape(
        lambda k: networks.init(module, k, SIZES), jax.random.key(0)
    )
    carry = module.initial_carry(2)
    new_carry, out = jax.eval_shape(
        module.apply,
        params,
        carry,
        random_obs(2, steps, 2),
        jnp.zeros((steps, 2), bool),
    )
    assert out.logits.shape == (steps, 2, OUTPUTS)
    assert out.value.shape == (steps, 2)
    shapes = {name: activity.shape for name, activity in out.areas.items()}
    assert shapes == {name: (steps, 2, units) for name, units in areas.items()}
    assert jax.tree.map(jnp.shape, new_carry) == jax.tree.map(jnp.shape, carry)


def test_pmc_activity_is_its_hidden_state():
    carry, out = run(SMALL, random_obs(3, 4, 2), jnp.zeros((4, 2), bool))
    np.testing.assert_array_equal(out.areas["PMC"][-1], carry["PMC"]["hidden"])


@pytest.mark.parametrize("cfg", [SMALL, BASELINE], ids=["fpn", "baseline"])
def test_privileged_stream_reaches_the_value_only(cfg):
    module, params = small(cfg)
    obs = random_obs(4, 4, 2)
    weights = jax.random.normal(jax.random.key(5), (4, 2, OUTPUTS))

    def heads(privileged):
        _, out = module.apply(
            params,
            module.initial_carry(2),
            obs | {"privileged": privileged},
            jnp.zeros((4, 2), bool),
        )
        policy = (out.logits * weights).sum() + sum(a.sum() for a in out.areas.values())
        return jnp.stack([policy, out.value.sum()])

    policy, value = jax.jit(jax.jacrev(heads))(obs["privileged"])
    np.testing.assert_array_equal(policy, 0.0)
    assert np.abs(value).max() > 1e-3


def changed_areas(stream):
    """Areas whose activity changes at the first step when `stream` alone changes."""
    obs, other = random_obs(6, 1, 4), random_obs(7, 1, 4)
    reset = jnp.ones((1, 4), bool)
    _, before = run(SMALL, obs, reset)
    _, after = run(SMALL, obs | {stream: other[stream]}, reset)
    return {k for k in before.areas if (before.areas[k] != after.areas[k]).any()}


@pytest.mark.parametrize(
    ("stream", "reached"),
    [
        ("goal", {"MCC", "LPFC", "PMC", "M1"}),
        ("vision", {"IPL", "IPS", "LPFC", "PMC", "M1"}),
        ("touch", {"SSC1", "SSC", "SPL", "IPL", "IPS", "LPFC", "PMC", "M1"}),
        ("privileged", set()),
    ],
)
def test_streams_travel_along_pathways_only(stream, reached):
    assert changed_areas(stream) == reached


def test_m1_sees_vision_only_through_pmc():
    """With the pathway from PMC to M1 silenced, vision no longer reaches M1."""
    module, params = copy.deepcopy(small())
    units = FPN_AREAS["PMC"]
    kernel = params["params"]["M1"]["layer1"]["kernel"].at[:units].set(0.0)
    params["params"]["M1"]["layer1"]["kernel"] = kernel
    obs = random_obs(8, 3, 2)

    def m1(vision):
        _, out = jitted(module)(
            params,
            module.initial_carry(2),
            obs | {"vision": vision},
            jnp.zeros((3, 2), bool),
        )
        return out.areas["M1"]

    np.testing.assert_array_equal(m1(obs["vision"]), m1(obs["vision"] + 1.0))


def test_value_gradient_flows_into_the_areas():
    module, params = small()

    def value(params):
        _, out = module.apply(
            params,
            module.initial_carry(2),
            random_obs(9, 3, 2),
            jnp.zeros((3, 2), bool),
        )
        return out.value.sum()

    gradient = jax.jit(jax.grad(value))(params)["params"]
    for area in ("SSC", "IPS", "MCC", "LPFC", "PMC"):
        assert max(np.abs(g).max() for g in jax.tree.leaves(gradient[area])) > 0.0, area
    for untouched in ("M1", "policy_head"):
        assert all((g == 0.0).all() for g in jax.tree.leaves(gradient[untouched]))


def test_first_policy_is_close_to_uniform():
    _, out = run(SMALL, random_obs(10, 3, 2), jnp.zeros((3, 2), bool))
    assert 0.0 < np.abs(out.logits).max() < 0.1


def test_order_is_topological_for_a_shuffled_table():
    wiring = networks.FRONTOPARIETAL
    shuffled = dataclasses.replace(wiring, areas=wiring.areas[::-1])
    seen = set(SIZES)
    for area in wirings.order(shuffled):
        assert seen.issuperset(shuffled.sources(area.name))
        seen.add(area.name)
    assert seen == set(SIZES) | {area.name for area in wiring.areas}


def with_pathways(*pathways):
    wiring = networks.FRONTOPARIETAL
    extra = tuple(networks.Pathway(*p) for p in pathways)
    return dataclasses.replace(wiring, pathways=(*wiring.pathways, *extra))


def with_areas(*areas):
    wiring = networks.FRONTOPARIETAL
    return dataclasses.replace(wiring, areas=(*wiring.areas, *areas))


@pytest.mark.parametrize(
    ("wiring", "message"),
    [
        (with_pathways(("M1", "LPFC")), "cycle: LPFC -> PMC -> M1 -> LPFC"),
        (with_pathways(("SPL", "SPL")), "cycle: SPL -> SPL"),
        (with_pathways(("V1", "IPL")), "V1 -> IPL"),
        (with_pathways(("SPL", "FEF")), "SPL -> FEF"),
        (with_pathways(("privileged", "PMC")), "privileged -> PMC"),
        (with_areas(networks.Area("FEF", 8)), "FEF receives nothing"),
        (with_areas(networks.Area("SPL", 8)), "names used twice: SPL"),
        (with_areas(networks.Area("SSC1", 8)), "names used twice: SSC1"),
        *(
            (with_areas(networks.Area(f"S{c}2", 8)), f"area 'S{c}2' has a {c} in its")
            for c in "/,:#"
        ),
        (with_areas(networks.Area("M 1", 8)), "area 'M 1' has a blank in its name"),
        (with_areas(networks.Area("A -> B", 8)), "area 'A -> B' has a blank"),
        (with_areas(networks.Area("-", 8)), "'-' is no name for an area"),
        (with_areas(networks.Area("", 8)), "'' is no name for an area"),
        (with_areas(networks.Area("M3", 0)), "area M3 has 0 units"),
        (
            dataclasses.replace(networks.FRONTOPARIETAL, value_units=(512, 0)),
            "value head has layers of 512, 0 units",
        ),
        (dataclasses.replace(networks.FRONTOPARIETAL, policy=("M2",)), "policy.*M2"),
        (dataclasses.replace(networks.FRONTOPARIETAL, value=()), "value.*nothing"),
    ],
)
def test_impossible_wiring_is_refused(wiring, message):
    with pytest.raises(ConfigError, match=message):
        wirings.check(wiring, SIZES)


def test_area_that_nothing_reads_is_refused():
    wiring = with_areas(networks.Area("FEF", 8))
    pathways = (*wiring.pathways, networks.Pathway("vision", "FEF"))
    with pytest.raises(ConfigError, match="nothing reads area FEF"):
        wirings.check(dataclasses.replace(wiring, pathways=pathways), SIZES)


@pytest.mark.parametrize(
    ("pathways", "message"),
    [
        (["vision -> A", "A ~> A"], "area A reaches no head"),
        (["vision -> A", "A -> B", "B ~> A"], "area A reaches no head"),
        (["A ~> A", "A -> M1"], "no sense reaches area A"),
        (["A -> B", "B ~> A", "B -> M1"], "no sense reaches area A"),
    ],
)
def test_areas_that_have_only_each_other_are_refused(pathways, message):
    ends = [p.split() for p in pathways]
    new = [networks.Pathway(a, b, way == "~>") for a, way, b in ends]
    names = sorted({b for _, _, b in ends} - {"M1"})
    wiring = with_areas(*(networks.Area(name, 8) for name in names))
    wiring = dataclasses.replace(wiring, pathways=(*wiring.pathways, *new))
    with pytest.raises(ConfigError, match=message):
        wirings.check(wiring, SIZES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "mamba"}, "lstm, gru, rnn"),
        ({"name": "transformer"}, "fpn, baseline, mlp, lstm"),
        ({"units_scale": 0.0}, "above 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        networks.build(NetworkConfig(**settings), SIZES, OUTPUTS)


@pytest.mark.parametrize("name", ["fpn", "baseline", "mlp", "lstm"])
def test_missing_stream_is_refused(name):
    sizes = {k: v for k, v in SIZES.items() if k != "privileged"}
    with pytest.raises(ConfigError, match="privileged"):
        networks.build(NetworkConfig(name=name), sizes, OUTPUTS)
