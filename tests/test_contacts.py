"""Contacts of the `jax` back end against C MuJoCo, hand-worked cases and a fine search."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from mujoco import mjx

from mjxhand import contacts, scene
from mjxhand.config import SceneConfig

RADIUS, HALF, SIZE = 0.009, 0.0125, 0.025
UP, ACROSS = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])


def on_box(centre, axis) -> contacts.Touch:
    """Of capsules with centres and unit axes [n, 3] and one box: arrays [n, 2] and [3, n, 2]."""
    centre, axis = np.atleast_2d(centre), np.atleast_2d(axis)
    found = jax.jit(contacts.capsules_on_box)(
        jnp.array(centre.T), jnp.array(HALF * axis.T),
        jnp.full(len(centre), RADIUS), jnp.full((3, 1), SIZE),
    )  # fmt: skip
    return contacts.Touch(
        *(np.stack(np.split(np.asarray(x), 2, -1), -1) for x in found)
    )


def test_a_capsule_that_lies_on_a_face_rests_on_its_two_ends():
    found = on_box([0.005, 0, SIZE + RADIUS - 0.001], ACROSS)
    np.testing.assert_allclose(found.dist[0], -0.001, atol=1e-7)
    ends = found.pos[:, 0].T[np.argsort(found.pos[0, 0])]
    depth = SIZE - 0.0005
    np.testing.assert_allclose(
        ends, [[-0.0075, 0, depth], [0.0175, 0, depth]], atol=1e-7
    )
    np.testing.assert_allclose(found.normal[:, 0].T, [-UP, -UP], atol=1e-6)


def test_one_that_hangs_over_rests_on_its_end_and_on_the_edge():
    found = on_box([SIZE, 0, SIZE + RADIUS - 0.001], ACROSS)
    np.testing.assert_allclose(found.dist[0], -0.001, atol=1e-7)
    np.testing.assert_allclose(np.sort(found.pos[0, 0]), [SIZE - HALF, SIZE], atol=1e-7)


def test_one_along_an_edge_rests_on_two_points_of_it():
    side = SIZE + (RADIUS - 0.001) / np.sqrt(2)
    found = on_box([0.018, side, side], ACROSS)
    np.testing.assert_allclose(found.dist[0], -0.001, atol=1e-6)
    np.testing.assert_allclose(np.sort(found.pos[0, 0]), [0.0055, SIZE], atol=1e-6)
    between = -np.array([0, 1, 1]) / np.sqrt(2)
    np.testing.assert_allclose(found.normal[:, 0].T, [between, between], atol=1e-5)


def test_one_that_stands_on_a_face_or_points_at_a_corner_touches_once():
    found = on_box([0, 0, SIZE + RADIUS + HALF - 0.001], UP)
    np.testing.assert_allclose(found.dist[0], [-0.001, -0.001 + 2 * HALF], atol=1e-7)
    diagonal = np.ones(3) / np.sqrt(3)
    found = on_box(SIZE + (RADIUS + HALF - 0.002) * diagonal, diagonal)
    assert found.dist[0, 0] == pytest.approx(-0.002, abs=1e-6)
    assert found.dist[0, 1] > 0
    np.testing.assert_allclose(found.normal[:, 0, 0], -diagonal, atol=1e-5)


def test_one_whose_axis_is_inside_is_pushed_out_at_the_nearest_face():
    found = on_box([0, 0.001, SIZE - 0.002], ACROSS)
    np.testing.assert_allclose(found.dist[0], -0.002 - RADIUS, atol=1e-7)
    np.testing.assert_allclose(found.normal[:, 0].T, [-UP, -UP], atol=1e-6)


def random_capsules(rng, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Near the box; a third of them almost along its axes. Centres and axes [n, 3]."""
    centre = rng.uniform(-SIZE - 0.018, SIZE + 0.018, (number, 3))
    axis = rng.normal(size=(number, 3))
    square = (
        np.eye(3)[rng.integers(3, size=number)] + rng.choice([0, 1e-3, 0.03]) * axis
    )
    axis = np.where(np.arange(number)[:, None] % 3, axis, square)
    return centre, axis / np.linalg.norm(axis, axis=1, keepdims=True)


def test_the_first_is_where_the_axis_is_nearest():
    centre, axis = random_capsules(np.random.default_rng(0), 3000)
    t = np.linspace(-1, 1, 4001)
    found = on_box(centre, axis)
    for of in range(0, len(centre), 10):
        places = centre[of] + HALF * t[:, None] * axis[of]
        beyond = np.maximum(np.abs(places) - SIZE, 0)
        nearest = np.sqrt((beyond**2).sum(1)).min()
        if nearest > 0:
            assert found.dist[of, 0] == pytest.approx(nearest - RADIUS, abs=1e-6)
            assert found.dist[of, 1] >= found.dist[of, 0] - 1e-6


PAIR = """
<mujoco>
  <worldbody>
    <geom name="one" {one} contype="0" conaffinity="0"/>
    <body>
      <joint/>
      <geom name="two" type="capsule" size=".009 .0125" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <contact><pair geom1="one" geom2="two" condim="4"/></contact>
</mujoco>"""
BOX = 'type="box" size=".025 .025 .025" quat="1 .2 .3 -.4" pos=".01 .02 .03"'
CAPSULE = 'type="capsule" size=".007 .02" quat="1 .2 .3 -.4" pos=".01 .02 .03"'


class Placed:
    """A model of two geoms, the second of which is a capsule in many places."""

    def __init__(self, one: str, centre, axis):
        """`centre` and unit `axis` [n, 3] in the frame of the first geom."""
        self.model = model = mujoco.MjModel.from_xml_string(PAIR.format(one=one))
        self.data = data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        turn = data.geom_xmat[0].reshape(3, 3)
        self.xpos = np.stack(
            [data.geom_xpos[:1] + 0 * centre, data.geom_xpos[0] + centre @ turn.T], 1
        )
        self.xmat = np.zeros((len(centre), 2, 3, 3))
        self.xmat[:, 0] = turn
        quat = np.zeros(4)
        for i, direction in enumerate(axis @ turn.T):
            mujoco.mju_quatZ2Vec(quat, direction)
            mujoco.mju_quat2Mat(matrix := np.zeros(9), quat)
            self.xmat[i, 1] = matrix.reshape(3, 3)

    def in_c(self) -> list[list[tuple]]:
        """C MuJoCo's contacts in each place, (dist, pos, normal) from capsule to box."""
        found = []
        for pos, mat in zip(self.xpos, self.xmat, strict=True):
            self.data.geom_xpos[:], self.data.geom_xmat[:] = pos, mat.reshape(2, 9)
            mujoco.mj_collision(self.model, self.data)
            found.append(
                [(c.dist, c.pos.copy(), c.frame[:3].copy()) for c in self.data.contact]
            )
        return found

    def in_mjx(self, collide) -> list[list[tuple]]:
        m, d = (
            mjx.put_model(self.model, impl="jax"),
            mjx.make_data(self.model, impl="jax"),
        )

        @jax.jit
        @jax.vmap
        def run(pos, mat):
            contact = collide(m, d.replace(geom_xpos=pos, geom_xmat=mat))._impl.contact
            return contact.dist, contact.pos, contact.frame[:, 0]

        found = [np.asarray(x) for x in run(jnp.array(self.xpos), jnp.array(self.xmat))]
        return [
            [contact for contact in zip(*place, strict=True) if contact[0] < 0]
            for place in zip(*found, strict=True)
        ]


def alike(one, two) -> bool:
    return (
        abs(one[0] - two[0]) < 1e-5
        and np.linalg.norm(one[1] - two[1]) < 1e-4
        and np.linalg.norm(one[2] - two[2]) < 0.01
    )


def agreement(ours, theirs) -> float:
    """Share of places with the same contacts, of those in which there are some."""
    same = []
    for these, those in zip(ours, theirs, strict=True):
        # Deeper than its radius a capsule's axis is inside, where they choose otherwise.
        if those and min(contact[0] for contact in those) > -0.9 * RADIUS:
            # C MuJoCo tells some contacts twice.
            those = those[:1] if len(those) == 2 and alike(*those) else those
            matched = all(any(alike(a, b) for b in those) for a in these)
            same.append(matched and len(these) == len(those))
    assert len(same) > 300
    return float(np.mean(same))


@pytest.fixture(scope="module")
def placed_on_box() -> Placed:
    return Placed(BOX, *random_capsules(np.random.default_rng(1), 3000))


def test_a_capsule_touches_a_box_where_c_mujoco_says(placed_on_box):
    """MJX's own, which these are to beat, does so in fewer places."""
    theirs = placed_on_box.in_c()
    ours = placed_on_box.in_mjx(contacts.collider(placed_on_box.model))
    for these, those in zip(ours, theirs, strict=True):
        deepest = [
            min((contact[0] for contact in x), default=0.0) for x in (these, those)
        ]
        # Where an axis enters the box C MuJoCo does not tell the depth.
        if deepest[0] > -0.99 * RADIUS:
            assert deepest[0] == pytest.approx(deepest[1], abs=1e-6)
    share = agreement(ours, theirs)
    mjx_share = agreement(placed_on_box.in_mjx(mjx.collision), theirs)
    assert share > 0.95
    assert mjx_share < 0.9


def test_a_capsule_touches_a_capsule_where_c_mujoco_says():
    placed = Placed(CAPSULE, *random_capsules(np.random.default_rng(2), 3000))
    assert (
        agreement(placed.in_mjx(contacts.collider(placed.model)), placed.in_c()) > 0.99
    )


def test_nearest_points_of_segments_that_are_parallel_cross_or_end_short():
    """Columns: side by side and shifted, crossing, end to end, and one end beside a middle."""
    one = np.zeros((3, 4))
    along = np.tile(ACROSS[:, None], (1, 4))
    two = np.array([[1, 1, 0], [0.5, 0, 1], [3, 0, 0], [0, 2, 0]]).T.astype(float)
    along_two = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0, 0], [0, 1, 0]]).T.astype(float)
    s, t = contacts.nearest_on_segments(*map(jnp.array, (one, along, two, along_two)))
    gap = np.linalg.norm(one + s * along - two - t * along_two, axis=0)
    np.testing.assert_allclose(gap, [1, 1, 1.5, 1], atol=1e-6)


OF_PAIRS = {
    "friction": "friction",
    "solref": "solref",
    "solreffriction": "solreffriction",
    "solimp": "solimp",
}
"""What MuJoCo gives a contact of its pair: the model's name of it, and the contact's."""


def test_the_deepest_contacts_of_the_scene_are_kept():
    """All of its pairs at once, some fingers and the cube in one another."""
    slots = 4
    made = scene.build(SceneConfig(max_contact_points=slots))
    model, data = made.mj_model, mujoco.MjData(made.mj_model)
    rng = np.random.default_rng(0)
    for field in OF_PAIRS:  # each pair has its own
        value = getattr(model, f"pair_{field}")
        value[:] = rng.uniform(0.1, 0.9, value.shape)
    of_pair = {
        frozenset(pair): number
        for number, pair in enumerate(
            zip(model.pair_geom1.tolist(), model.pair_geom2.tolist(), strict=True)
        )
    }
    m, d = mjx.put_model(model, impl="jax"), mjx.make_data(model, impl="jax")
    collide = jax.jit(contacts.collider(model))
    full = 0
    for _ in range(20):
        data.qpos[:] = made.start_qpos
        data.qpos[made.hand_qpos] += rng.uniform(-0.5, 0.5, 24)
        data.qpos[made.cube_qpos][:3] += rng.uniform(-0.02, 0.02, 3)
        data.qpos[made.cube_qpos][2] -= 0.03
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        placed = d.replace(
            geom_xpos=jnp.array(data.geom_xpos),
            geom_xmat=jnp.array(data.geom_xmat.reshape(-1, 3, 3)),
        )
        contact = jax.tree.map(np.asarray, collide(m, placed)._impl.contact)
        frame = contact.frame
        np.testing.assert_allclose(
            frame @ frame.swapaxes(1, 2),
            np.tile(np.eye(3), (len(frame), 1, 1)),
            atol=1e-5,
        )
        assert (np.linalg.det(frame) > 0).all()
        pairs = [of_pair[frozenset(geoms)] for geoms in contact.geom.tolist()]
        for field, wanted in OF_PAIRS.items():
            np.testing.assert_allclose(
                getattr(contact, wanted),
                getattr(model, f"pair_{field}")[pairs],
                rtol=1e-6,
            )
        for condim in (1, 4):
            of = contact.dim == condim
            assert of.sum() == slots
            ours = sorted(contact.dist[of & (contact.dist < 0)])
            those = [c for c in data.contact if c.dim == condim]
            deepest = {}
            for c in those:
                pair = tuple(c.geom)
                deepest[pair] = min(c.dist, deepest.get(pair, 0.0))
            full += len(ours) == slots
            told = {
                tuple(geom): dist
                for geom, dist in sorted(
                    zip(contact.geom[of].tolist(), contact.dist[of], strict=True),
                    key=lambda x: -x[1],
                )
                if dist < 0
            }
            for pair, dist in told.items():
                # Not where an axis enters the cube, as above.
                if (
                    dist
                    > -0.99 * model.geom_size[min(pair, key=model.geom_type.item), 0]
                ):
                    assert dist == pytest.approx(deepest[pair], abs=2e-6)
            if len(ours) < slots:
                assert set(told) == set(deepest)
    assert full


@pytest.mark.parametrize("thing", ["sphere", "egg"])
def test_other_shapes_are_left_to_mjx(thing):
    model = scene.build(SceneConfig(object=thing)).mj_model
    assert contacts.collider(model) is mjx.collision
