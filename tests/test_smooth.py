"""Positions, inertia and bias forces of the jax back end against C MuJoCo and by hand."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from mujoco import mjx

from mjxhand import mjx_steps, scene, smooth
from mjxhand.config import ConfigError, SceneConfig
from mjxhand.exact import exact

NAMES = (
    "xpos", "xmat", "xipos", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "subtree_com",
    "cdof", "M", "qfrc_bias",
)  # fmt: skip


def found(model: mujoco.MjModel, qpos, qvel) -> dict[str, np.ndarray]:
    """NAMES of states [N, nq] and [N, nv]."""
    m = mjx.put_model(model, impl="jax")
    template, tree = mjx.make_data(model, impl="jax"), smooth.tree(model)

    def one(qpos, qvel):
        fixed = smooth.bodies(tree, m)
        d = template.replace(qpos=qpos, qvel=qvel)
        d = smooth.place_sites(tree, m, smooth.positions(tree, fixed, m, d))
        d = d.replace(qfrc_bias=smooth.bias(tree, fixed, m, d))
        return {name: d._impl.M if name == "M" else getattr(d, name) for name in NAMES}

    states = (jnp.asarray(x, jnp.float32) for x in (qpos, qvel))
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(exact(one)))(*states))


def reference(model: mujoco.MjModel, qpos, qvel) -> dict[str, np.ndarray]:
    """The same of C MuJoCo, in float64."""
    data, rows = mujoco.MjData(model), []
    for data.qpos, data.qvel in zip(qpos, qvel, strict=True):
        mujoco.mj_forward(model, data)
        mass = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, mass)
        row = {
            name: mass if name == "M" else getattr(data, name).copy() for name in NAMES
        }
        rows.append(row)
    return {name: np.stack([row[name] for row in rows]) for name in NAMES}


def test_hand_and_cube_are_those_of_mujoco():
    made = scene.build(SceneConfig(start_pose="cupped"))
    rng = np.random.default_rng(0)
    qpos = np.tile(made.start_qpos, (32, 1))
    qpos[:, :24] += rng.normal(0, 0.4, (32, 24))
    qpos[:, made.cube_qpos] += rng.normal(0, 0.1, (32, 7))
    qpos[:, 27:] /= np.linalg.norm(qpos[:, 27:], axis=1, keepdims=True)
    qpos = qpos.astype("f4").astype(float)
    qvel = rng.normal(0, 3, (32, 30))
    ours, theirs = (f(made.mj_model, qpos, qvel) for f in (found, reference))
    for name in NAMES:
        expected = theirs[name].reshape(ours[name].shape)
        assert np.abs(expected).max() > 1e-2, name  # there is something to find
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            ours[name], expected, atol=1e-6 * scale, err_msg=name
        )


MODELS = {
    "pendulum": """<body pos="0 0 1"><joint axis="0 1 0"/>
        <inertial pos="0 0 -0.5" mass="2" diaginertia=".1 .1 .1"/></body>""",
    "spinning": """<body pos="0 0 1"><freejoint/>
        <inertial pos="0 0 0" mass="2" diaginertia=".1 .2 .3"/></body>""",
}


def model_of(name: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><option gravity="0 0 -10"/><worldbody>{MODELS[name]}</worldbody></mujoco>'
    )


def test_pendulum_by_hand():
    """2 kg half a metre below its hinge: inertia .1 + 2 · .25, torque 2 · 10 · .5 sin(angle)."""
    angles = np.array([0.0, np.pi / 6, np.pi / 2, 1e-4])[:, None]
    out = found(model_of("pendulum"), angles, np.full_like(angles, 3.0))
    assert out["M"].ravel() == pytest.approx(0.6, rel=1e-5)
    expected = 10 * np.sin(angles[:, 0])
    assert out["qfrc_bias"][:, 0] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    # Turned about y it swings towards -x.
    place = np.stack([-0.5 * np.sin(angles[:, 0]), 1 - 0.5 * np.cos(angles[:, 0])], 1)
    assert out["xipos"][:, 1, ::2] == pytest.approx(place, abs=1e-6)


def test_free_body_by_hand():
    """Weight, and turn x (inertia · turn): (2, 3, 0) x (.2, .6, 0) = (0, 0, .6)."""
    qpos = np.array([[0.3, 0.2, 1, 1, 0, 0, 0]])
    qvel = np.array([[5.0, 6, 7, 2, 3, 0]])
    out = found(model_of("spinning"), qpos, qvel)
    expected = np.diag([2.0, 2, 2, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(out["M"][0], expected, atol=1e-6)
    assert out["qfrc_bias"][0] == pytest.approx([0, 0, 20, 0, 0, 0.6], abs=1e-5)


def test_quaternion_is_made_one():
    """A cube's, as MuJoCo does; what is integrated stays of length 1."""
    model = model_of("spinning")
    m, tree = mjx.put_model(model, impl="jax"), smooth.tree(model)
    d = mjx.make_data(model, impl="jax")
    d = d.replace(qpos=jnp.array([0.0, 0, 1, 0, 3, 0, 4]))
    d = smooth.positions(tree, smooth.bodies(tree, m), m, d)
    assert np.asarray(d.qpos) == pytest.approx([0, 0, 1, 0, 0.6, 0, 0.8], abs=1e-6)


@pytest.mark.parametrize(
    "joints",
    ['<joint type="slide"/>', '<joint type="ball"/>', "<joint/><joint axis='0 1 0'/>"],
)
def test_other_joints_are_refused(joints):
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><worldbody><body>{joints}<geom size='.1'/></body></worldbody></mujoco>"
    )
    with pytest.raises(ConfigError, match="other joints: use native"):
        smooth.tree(model)


@pytest.mark.parametrize(
    ("sensor", "known"),
    [
        ('<framepos name="it" objtype="site" objname="s"/>', True),
        ('<jointvel name="it" joint="j"/>', True),
        ('<framequat name="it" objtype="site" objname="s"/>', False),
        (
            '<framepos name="it" objtype="site" objname="s" reftype="body" refname="b"/>',
            False,
        ),
        ('<framepos name="it" objtype="camera" objname="c"/>', False),
    ],
)
def test_sensors_that_would_read_nothing_are_refused(sensor, known):
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco><worldbody><body name="b"><joint name="j"/><geom size=".1"/>
        <site name="s"/><camera name="c"/></body></worldbody><sensor>{sensor}</sensor></mujoco>"""
    )
    if known:
        mjx_steps._check_sensors(model)
    else:
        with pytest.raises(
            ConfigError, match="does not know the sensors it: use native"
        ):
            mjx_steps._check_sensors(model)
