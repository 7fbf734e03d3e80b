"""The jax back end's constraints and solver against MJX's, scipy's and worked examples."""

from functools import partial

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from mujoco import mjx
from scipy import optimize

from mjxhand import constraints, newton, physics, scene
from mjxhand.config import ConfigError, PhysicsConfig, SceneConfig

BATCH = 16


@pytest.fixture(scope="module")
def made():
    return scene.build(SceneConfig(start_pose="cupped"))


@pytest.fixture(scope="module")
def layout(made):
    return constraints.layout(made.mj_model)


@pytest.fixture(scope="module")
def solved(made, layout):
    """Held cubes under moving servos: MJX's rows and minimum, and ours, as numpy."""
    m = mjx.put_model(made.mj_model, impl="jax")
    template = mjx.make_data(made.mj_model, impl="jax")
    states = physics.settle(made, PhysicsConfig(), BATCH, seconds=0.64, seed=0)
    rng = np.random.default_rng(0)
    qvel = states.qvel + rng.normal(0, 1, states.qvel.shape)
    # Some joints beyond their limits, so that limits and the coupled tendons push too.
    high = made.mj_model.jnt_range[:24, 1]
    qpos = states.qpos.copy()
    qpos[:, :24] = np.where(rng.random((BATCH, 24)) < 0.3, high + 0.05, qpos[:, :24])

    @jax.jit
    @jax.vmap
    def both(qpos, qvel, warmstart):
        ctrl = jnp.asarray(made.start_ctrl + 0.3, jnp.float32)
        d = template.replace(qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, ctrl=ctrl)
        d = mjx.fwd_acceleration(
            m, mjx.fwd_actuation(m, mjx.fwd_velocity(m, mjx.fwd_position(m, d)))
        )
        rows = constraints.make_rows(layout, m, d)
        problem = newton._Problem(layout, rows, d._impl.M)
        solution = newton.solve(
            layout, rows, d._impl.M, d.qfrc_smooth, d.qacc_warmstart,
            iterations=20, ls_iterations=12,
        )  # fmt: skip
        fine = mjx.solve(
            m.tree_replace({"opt.iterations": 100, "opt.ls_iterations": 50}), d
        )
        eye = jnp.eye(made.mj_model.nv)
        jacobian = jax.vmap(lambda x: jnp.concatenate(problem.apply(x)), out_axes=1)(
            eye
        )
        return {
            "J": (jacobian, d._impl.efc_J),
            "aref": (-jnp.concatenate(problem.residual(0 * qvel)), d._impl.efc_aref),
            "D": (
                jnp.concatenate([rows.friction_weight, problem.weight]),
                d._impl.efc_D,
            ),
            "pos": (d._impl.efc_pos, d._impl.efc_margin),
            "qacc": (solution.qacc, fine.qacc),
            "qfrc_constraint": (solution.qfrc_constraint, fine.qfrc_constraint),
            "efc_force": (solution.efc_force, fine._impl.efc_force),
            "problem": (d._impl.M, d.qfrc_smooth, d.qacc_smooth, rows.friction_loss),
        }

    out = both(*map(jnp.asarray, (qpos, qvel.astype("f4"), states.qacc_warmstart)))
    return jax.tree.map(np.asarray, out)


def test_rows_are_those_of_mjx(solved):
    """J, aref and D of every active row; the others weigh nothing."""
    jacobian, reference = solved["J"]
    active = np.abs(reference).sum(-1) > 0
    # 24 dofs lose friction at all times; limits and contacts come and go.
    assert active[:, :24].all()
    assert active[:, 24:].any(1).all()
    assert not active[:, 24:].all(1).any()
    np.testing.assert_allclose(jacobian[active], reference[active], atol=1e-6)
    for name in ("aref", "D"):
        ours, theirs = solved[name]
        np.testing.assert_allclose(ours[active], theirs[active], rtol=2e-5, atol=1e-4)
    assert (solved["D"][0][~active] == 0).all()
    # Every kind was there: a joint's limit, a tendon's, both kinds of contact.
    for kind in (slice(24, 48), slice(48, 52), slice(64, 136)):
        assert active[:, kind].any()


def test_minimum_is_that_of_mjx(solved):
    for name, tolerance in (("qacc", 2e-3), ("qfrc_constraint", 2e-3)):
        ours, theirs = solved[name]
        error = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
        assert np.median(error) < tolerance / 10, name
        assert error.max() < tolerance, name
    ours, theirs = solved["efc_force"]
    assert np.abs(ours - theirs).max() < 2e-3 * np.abs(theirs).max()


def test_minimum_is_one(solved):
    """MuJoCo's cost, written out in float64 with MJX's rows: nothing nearby is lower."""

    def cost(x, i):
        mass, force, smooth, loss = (a[i].astype(float) for a in solved["problem"])
        jacobian, aref, weight = (
            solved[k][1][i].astype(float) for k in ("J", "aref", "D")
        )
        r = jacobian @ x - aref
        total = 0.5 * (x - smooth) @ (mass @ x - force)
        for j, (value, d) in enumerate(zip(r, weight, strict=True)):
            if j < loss.size and abs(value) * d > loss[j]:
                total += loss[j] * (abs(value) - loss[j] / (2 * d))
            elif j < loss.size or value < 0:
                total += 0.5 * d * value**2
        return total

    rng = np.random.default_rng(1)
    for i in range(3):
        qacc = solved["qacc"][0][i].astype(float)
        least = cost(qacc, i)
        for _ in range(20):
            # Along eigenvectors of no particular row: as stiff as the problem is.
            step = rng.normal(0, 1, qacc.size) * np.abs(qacc).max() * 0.05
            assert cost(qacc + step, i) > least
        scaled = partial(lambda qacc, i, a: cost(a * qacc, i), qacc, i)
        best = optimize.minimize_scalar(scaled, bracket=(0.9, 1.1))
        assert best.x == pytest.approx(1, abs=1e-3)


def one_dof(push: float, loss: float = 0.0):
    """Mass 2 pushed by `push`; a limit at rest with weight 6, and friction loss."""
    kind = slice(0, 1)
    lay = constraints.Layout(
        friction_dof=kind, limit_joint=kind, limit_dof=kind, limit_qpos=kind,
        limit_tendon=np.arange(0), frictionless=0, pyramids=(),
        moves=np.ones((1, 1), bool),
    )  # fmt: skip
    one = jnp.ones(1)
    rows = constraints.Rows(
        friction_aref=0 * one, friction_weight=1e6 * one, friction_loss=loss * one,
        limit_sign=one, limit_aref=0 * one, limit_weight=6 * one,
        directions=jnp.zeros((0, 1)), aref=jnp.zeros(0), plain_weight=jnp.zeros(0),
        pyramid_weight=(),
    )  # fmt: skip
    force = jnp.array([push])
    return newton.solve(
        lay, rows, jnp.array([[2.0]]), force, 0 * one, 5, 6
    )  # fmt: skip


@pytest.mark.parametrize(
    ("push", "loss", "qacc", "friction", "limit"),
    [
        (4.0, 0.0, 2.0, 0.0, 0.0),  # away from the limit: force over mass
        (-4.0, 0.0, -0.5, 0.0, 3.0),  # 2 a = -4 - 6 a
        (4.0, 1.0, 1.5, -1.0, 0.0),  # 2 a = 4 - 1: it slides
        (0.5, 1.0, 0.0, -0.5, 0.0),  # friction holds it
        (-4.0, 1.0, -0.375, 1.0, 2.25),  # 2 a = -4 + 1 - 6 a
    ],
)
def test_one_dof_by_hand(push, loss, qacc, friction, limit):
    solution = one_dof(push, loss)
    assert solution.qacc[0] == pytest.approx(qacc, abs=1e-5)
    assert solution.efc_force == pytest.approx([friction, limit], abs=1e-4)
    assert solution.qfrc_constraint[0] == pytest.approx(friction + limit, abs=1e-4)


def test_line_search_crosses_pieces():
    """Three walls, each met after the last: derivative -7 + a + 2(a-1)+ + 3(a-2)+, root 2.5."""
    lay = constraints.Layout(
        friction_dof=slice(0, 0), limit_joint=slice(0, 0), limit_dof=slice(0, 0),
        limit_qpos=slice(0, 0), limit_tendon=np.arange(0), frictionless=3, pyramids=(),
        moves=np.ones((1, 1), bool),
    )  # fmt: skip
    none = jnp.zeros(0)
    rows = constraints.Rows(
        friction_aref=none, friction_weight=none, friction_loss=none,
        limit_sign=none, limit_aref=none, limit_weight=none,
        directions=-jnp.ones((2, 1)), aref=jnp.array([-1.0, -2.0]),
        plain_weight=jnp.array([2.0, 3.0]), pyramid_weight=(),
    )  # fmt: skip
    problem = newton._Problem(lay, rows, jnp.eye(1))
    at, along = problem.residual(jnp.zeros(1)), problem.apply(jnp.ones(1))
    gauss = (jnp.array(-7.0), jnp.array(1.0))
    assert problem.line_search(at, along, gauss, 6) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('<equality><joint joint1="a"/></equality>', "other constraints: use native"),
        ('<option cone="elliptic"/>', "other constraints: use native"),
    ],
)
def test_unknown_constraints_are_refused(change, words):
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco>{change}<worldbody><body><geom size=".1"/>
        <joint name="a" axis="1 0 0" range="-1 1" limited="true"/></body></worldbody>
        </mujoco>"""
    )
    with pytest.raises(ConfigError, match=words):
        constraints.layout(model)


def test_scattered_limits_are_refused():
    joints = "".join(
        f'<body><geom size=".1"/><joint limited="{limited}" range="-1 1"/></body>'
        for limited in ("true", "false", "true")
    )
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><worldbody>{joints}</worldbody></mujoco>"
    )
    with pytest.raises(ConfigError, match="follow one another"):
        constraints.layout(model)
