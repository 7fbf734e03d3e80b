"""The chain: the 24 orientations, its letters, its goals; worked by hand where possible."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_rotations import random_turns

import mjxhand
from mjxhand import ConfigError, look, rotations
from mjxhand.tasks import chain

N = 16
HOLD = jnp.full((N, 20), 5, jnp.int32)
X, Y, Z = np.eye(3)


def turn_of(word: str) -> Rotation:
    (turn,) = chain.parse(word)
    return Rotation.from_quat(turn, scalar_first=True)


@pytest.fixture(scope="module")
def env():
    return mjxhand.make("chain", impl="native", pool_size=32, sequence="l_u_c")


@pytest.fixture(scope="module")
def step(env):
    return jax.jit(jax.vmap(env.step))


@pytest.fixture(scope="module")
def start(env):
    return jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.PRNGKey(0), N))


def test_the_24_orientations_are_scipys():
    """As a set, up to sign, they are the octahedral group."""
    ours, theirs = chain.GROUP, Rotation.create_group("O").as_quat(scalar_first=True)
    likeness = np.abs(ours @ theirs.T)
    assert likeness.shape == (24, 24)
    assert np.allclose(np.sort(likeness, axis=1)[:, -1], 1)
    assert np.allclose(np.sort(likeness, axis=0)[-1], 1)


def test_the_24_orientations_form_a_group():
    group = jnp.asarray(chain.GROUP)
    products = rotations.multiply(group[:, None], group[None]).reshape(-1, 4)
    likeness = np.abs(np.asarray(products @ group.T))
    assert np.allclose(likeness.max(axis=1), 1, atol=1e-6)  # closed
    # Each element once per row of the multiplication table: inverses exist.
    table = likeness.argmax(axis=1).reshape(24, 24)
    assert np.array_equal(np.sort(table, axis=1), np.tile(np.arange(24), (24, 1)))
    angles = np.degrees(np.asarray(rotations.angle_between(group, group[:1])))
    values, counts = np.unique(angles.round(), return_counts=True)
    assert dict(zip(values, counts, strict=True)) == {0: 1, 90: 6, 120: 8, 180: 9}


@pytest.mark.parametrize(
    ("letter", "vector", "image"),
    [  # where a letter takes a vector (fingers +x, left +y, up +z)
        ("l", Z, Y),  # the top goes to the left
        ("r", Z, -Y),
        ("u", Z, X),  # the top goes to the fingertips
        ("d", Z, -X),
        ("c", X, -Y),  # from above, the far side goes to the right
        ("a", X, Y),
    ],
)
def test_a_letter_is_a_quarter_turn(letter, vector, image):
    turn = turn_of(letter)
    assert np.allclose(turn.apply(vector), image, atol=1e-12)
    assert np.isclose(turn.magnitude(), np.pi / 2)
    four = turn * turn * turn * turn
    assert np.isclose(four.magnitude(), 0, atol=1e-7)


def test_letters_of_one_sub_goal_act_in_order():
    both = turn_of("lu")
    expected = turn_of("u") * turn_of("l")  # first l, then u, about the world's axes
    assert np.isclose((both * expected.inv()).magnitude(), 0, atol=1e-7)
    # l takes the top to the left, where u leaves it.
    assert np.allclose(both.apply(Z), Y, atol=1e-12)
    assert np.isclose(np.degrees(both.magnitude()), 120)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("l_x_r", "'x' is no quarter turn"),
        ("l__r", "'' turns nothing"),
        ("lr", "'lr' turns nothing"),
        ("l r", "' ' is no quarter turn"),
        ("uuuu_l", "'uuuu' turns nothing"),
    ],
)
def test_a_bad_code_is_one_line(code, word):
    with pytest.raises(ConfigError, match=r"env\.sequence") as caught:
        mjxhand.make("chain", sequence=code)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_faces_up_by_hand():
    def up(word):
        return look.FACES[int(chain.face_up(jnp.asarray(chain.parse(word)[0])))][0]

    # A +x, B -x, C +y, D -y, E +z, F -z of the cube; unturned, E is up.
    assert look.FACES[int(chain.face_up(jnp.array([1.0, 0, 0, 0])))][0] == "E"
    # The top goes to the left, so what was on the right (-y: D) comes up.
    assert [up(word) for word in "lrud"] == ["D", "C", "B", "A"]
    assert [up(word) for word in ("c", "a", "uu")] == ["E", "E", "F"]


def test_nearest_is_never_far_and_first_goals_are_never_reached(env):
    quats = random_turns(20_000, seed=2)
    near = jax.vmap(chain.nearest)(quats)
    angles = np.asarray(rotations.angle_between(quats, near))
    assert 0.95 * chain.FARTHEST < angles.max() <= chain.FARTHEST + 1e-4
    for turn in chain.parse("l_r_u_d_c_a_lu"):
        goals = rotations.multiply(jnp.asarray(turn, jnp.float32), near)
        assert rotations.angle_between(goals, quats).min() > env.task.threshold
    with pytest.raises(ConfigError, match=r"must be below 0\.47"):
        mjxhand.make("chain", threshold=0.5)


def place(state, quat):
    """`state` with the cube turned to `quat` and still."""
    qpos = state.physics.qpos.at[:, 27:].set(jnp.asarray(quat, jnp.float32))
    return state.replace(physics=state.physics.replace(qpos=qpos))


def test_goals_follow_the_code_and_the_last_one_ends_the_episode(env, start, step):
    assert np.all(start.metrics["angle"] == start.distance)
    base = Rotation.from_quat(
        np.asarray(jax.vmap(chain.nearest)(start.physics.qpos[:, 27:])),
        scalar_first=True,
    )
    state, expected = start, base
    for index, word in enumerate("luc"):
        expected = turn_of(word) * expected
        goal = Rotation.from_quat(np.asarray(state.goal.quat), scalar_first=True)
        assert np.allclose((goal * expected.inv()).magnitude(), 0, atol=1e-6)
        assert np.all(state.goal.place == index)
        assert np.allclose(np.abs(np.sum(state.obs["goal"] * state.goal.quat, 1)), 1)
        state = step(place(state, state.goal.quat), HOLD)
        assert np.all(state.metrics["success"] == 1)
    assert np.all(state.goals == 3)
    assert np.all(state.truncated & (state.metrics["complete"] == 1))


def test_face_up_is_reported(start, step):
    state = step(place(start, [0.5**0.5, -(0.5**0.5), 0, 0]), HOLD)  # l
    assert np.mean(state.metrics["face_up"] == 3) > 0.9  # D; some cubes topple
    assert set(state.metrics) == set(start.metrics)


def test_label_and_length(env):
    assert env.label == "chain: l_u_c"
    assert env.task.num_goals == 3
    assert mjxhand.make("chain", impl="native").label == "chain: l_r_u_d_c_a"
