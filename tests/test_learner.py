"""One update by hand: the least of networks, on experience that is made up."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import probe_envs
import pytest
from test_ppo import TINY

from mjxhand import curriculum, ppo, running, sharding
from mjxhand.agent import MAX_NORMALIZED
from mjxhand.config import CurriculumConfig
from mjxhand.devices import AXIS
from mjxhand.sharding import Program, make_mesh
from mjxhand.types import Actors, Progress, Rollout

T, N = 4, 6
CFG = dataclasses.replace(
    TINY.ppo,
    num_envs=N,
    unroll_length=T,
    chunk_length=2,
    num_epochs=1,
    num_minibatches=1,
    learning_rate=1e-3,
    target_kl=1e-9,
    gamma=0.9,
    lam=0.6,
    entropy_weight=0.01,
    normalize_obs=True,
    normalize_reward=True,
)


def on_one_device(f):
    """`f`, compiled, as on a mesh of one device."""

    def called(*args):
        return jax.vmap(lambda _: f(*args), axis_name=AXIS, out_axes=None)(jnp.zeros(1))

    return jax.jit(called)


def experience(agent, learner):
    """Made up, but for log-probabilities and values, which are the policy's."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype("f4")  # noqa: E731
    obs = {name: 3 + normal(T, N, n) for name, n in probe_envs.SIZES.items()}
    obs["vision"][1, 2, 0] = 1e3  # beyond what the network is shown
    reward = normal(T, N)
    reward[2, 3] = -500.0  # beyond what counts
    action = rng.integers(0, 2, (T, N, 1))
    seen = agent.normalize(obs, learner.obs_stats)
    began = np.zeros((T, N), bool)
    _, out = agent.apply(learner.params, agent.initial_carry(N), seen, began)
    terminated = rng.random((T, N)) < 0.2
    return Rollout(
        obs=obs,
        began=began,
        action=action,
        log_prob=agent.distribution.log_prob(out.logits, action),
        value=out.value,
        next_value=normal(T, N),
        reward=reward,
        discounted=3 * normal(T, N),
        terminated=terminated,
        episode_end=terminated | (rng.random((T, N)) < 0.2),
        carry=np.zeros((T // CFG.chunk_length, N, 1), "f4"),
        metrics={"goals": np.zeros((T, N), "f4")},
    )


@functools.cache
def begin():
    """Agent, learner with statistics that are not those of the start, experience."""
    agent = probe_envs.line(CFG)
    program = Program(
        dataclasses.replace(TINY, ppo=CFG), None, agent, make_mesh(jax.devices()[:1])
    )
    learner = program.init_learner(0)
    stats = learner.obs_stats.replace(
        mean={name: jnp.full(n, 2.0) for name, n in probe_envs.SIZES.items()},
        std={name: jnp.full(n, 0.5) for name, n in probe_envs.SIZES.items()},
    )
    learner = learner.replace(
        obs_stats=stats,
        # As after an update whose KL was small.
        learning_rate=jnp.float32(2e-3),
    )
    return agent, learner, experience(agent, learner)


@functools.cache
def updated(**changes):
    """The learner after one update, and its metrics."""
    agent, learner, seen = begin()
    cfg = dataclasses.replace(CFG, **changes)
    update = functools.partial(ppo.update, agent, cfg, TINY.curriculum, 1.0)
    return on_one_device(update)(learner, seen, jax.random.PRNGKey(0))


@functools.cache
def sequences():
    """What is learned from, for a deviation of returns."""
    agent, learner, seen = begin()
    stats = running.init(jnp.zeros(()))
    return on_one_device(
        lambda std: ppo.sequences(agent, CFG, learner, seen, stats.replace(std=std))
    )


def test_what_is_learned_from_against_numpy():
    seen = begin()[2]
    data, metrics = sequences()(jnp.float32(2.0))
    reward = np.clip(seen.reward / 2.0, -10, 10)
    value, advantage = np.asarray(seen.value), np.zeros((T + 1, N))
    for t in reversed(range(T)):
        ahead = np.where(seen.terminated[t], 0.0, seen.next_value[t])
        going = ~seen.episode_end[t] * advantage[t + 1]
        advantage[t] = reward[t] + 0.9 * ahead - value[t] + 0.9 * 0.6 * going
    advantage = advantage[:-1]
    target = advantage + value
    chunks = lambda x: x.reshape(2, 2, N, *x.shape[2:]).swapaxes(0, 1).swapaxes(1, 2)  # noqa: E731
    expected = {
        "advantage": (advantage - advantage.mean()) / advantage.std(),
        "target": target,
        "value": value,
    }
    for name, x in expected.items():
        np.testing.assert_allclose(getattr(data, name), chunks(x), rtol=2e-4, atol=1e-4)
    for name, x in seen.obs.items():
        normalized = np.clip((x - 2.0) / 0.5, -10.0, 10.0)
        np.testing.assert_allclose(data.obs[name], chunks(normalized), rtol=1e-5)
    unexplained = (advantage**2).mean() / target.var()
    got = metrics["value/explained_variance"]
    np.testing.assert_allclose(got, 1 - unexplained, rtol=1e-3)
    assert MAX_NORMALIZED == ppo.MAX_REWARD == 10.0


def test_loss_and_what_is_told_of_it_by_hand():
    """Ratios of 1.1, 1.5, 1.4; advantages of 1, 2, -1; values 0.5, 1, 0 off."""
    agent, learner, _ = begin()
    obs = {name: jnp.ones((1, 3, n)) for name, n in probe_envs.SIZES.items()}
    began, carry = jnp.zeros((1, 3), bool), agent.initial_carry(3)
    _, out = agent.apply(learner.params, carry, obs, began)
    action = jnp.array([[[0], [1], [1]]])
    ratio = np.array([[1.1, 1.5, 1.4]])
    batch = ppo.Sequences(
        obs=obs,
        began=began,
        action=action,
        log_prob=agent.distribution.log_prob(out.logits, action) - np.log(ratio),
        value=out.value,
        advantage=jnp.array([[1.0, 2.0, -1.0]]),
        target=out.value + jnp.array([[0.5, 1.0, 0.0]]),
        carry=carry,
    )
    cfg = dataclasses.replace(CFG, value_weight=0.7, entropy_weight=0.3)
    total, told = jax.jit(lambda *x: ppo.loss(x[0], agent, cfg, x[1]))(
        learner.params, batch
    )
    p = np.exp(np.asarray(out.logits, "f8"))
    p /= p.sum(-1, keepdims=True)
    entropy = -(p * np.log(p)).sum(-1).mean()
    policy, value = -(1.1 + 1.2 * 2 - 1.4) / 3, (0.25 + 1) / 3
    expected = {
        "loss/policy": policy,
        "loss/value": value,
        "loss/total": policy + 0.7 * value - 0.3 * entropy,
        "policy/entropy": entropy,
        "policy/kl": (ratio - 1 - np.log(ratio)).mean(),
        "policy/clip_fraction": 2 / 3,
        ppo.FARTHEST: np.log(1.5),
    }
    assert told == pytest.approx(expected, rel=1e-4)
    assert total == told["loss/total"]


def test_a_step_of_the_optimiser_by_hand():
    """Clipped to a norm of 0.5, then Adam's moments; ε holds back the rare and small."""
    optimizer = ppo.optimizer(dataclasses.replace(CFG, max_grad_norm=0.5))
    step = jax.jit(optimizer.update)
    params = {"w": jnp.zeros(3)}
    state = optimizer.init(params)
    first, second = np.zeros(3), np.zeros(3)
    for i, gradient in enumerate([[3e5, 4e5, 0.0], [0.1, 0.2, 1e-5]], 1):
        grads = {"w": jnp.array(gradient, jnp.float32)}
        steps, state = step(grads, state, params)
        g = np.array(gradient) * min(1.0, 0.5 / np.linalg.norm(gradient))
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        deviation = np.sqrt(second / (1 - 0.999**i)) + 1e-5
        expected = first / (1 - 0.9**i) / deviation
        np.testing.assert_allclose(steps["w"], expected, rtol=1e-3)


def test_a_rate_that_falls_and_the_size_of_the_step():
    """Adam's first step moves every weight by the rate, whatever its gradient."""
    before = begin()[1]
    after, metrics = updated()
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b), after.params, before.params)
    for step in jax.tree.leaves(moved):
        np.testing.assert_allclose(step, 2e-3, rtol=0.05)
    assert float(metrics["policy/learning_rate"]) == pytest.approx(2e-3)
    # The KL is far above the target of 1e-9.
    assert float(after.learning_rate) == pytest.approx(2e-3 / 1.5)


def test_the_rate_stays_within_its_range_or_the_users():
    def adapted(rate, kl, start=1e-3):
        cfg = dataclasses.replace(CFG, target_kl=0.01, learning_rate=start)
        return float(ppo._adapt(jnp.float32(rate), jnp.float32(kl), cfg))

    assert adapted(1.2e-5, 1.0) == pytest.approx(1e-5)
    assert adapted(9e-3, 0.0) == pytest.approx(1e-2)
    assert adapted(1.2e-5, 1.0, start=5e-6) == pytest.approx(8e-6)


def test_the_kl_is_that_of_the_last_epoch():
    """The second of two epochs sees what the first has done; the first saw nothing."""
    (_, one), (_, two) = updated(), updated(num_epochs=2)
    assert one["policy/kl"] > 1e-8
    np.testing.assert_allclose(two["policy/kl"], one["policy/kl"], rtol=0.02)


def test_statistics_take_in_what_was_seen_and_paid():
    seen = begin()[2]
    after, metrics = updated()
    for name, x in seen.obs.items():
        mean, std = (getattr(after.obs_stats, k)[name] for k in ("mean", "std"))
        np.testing.assert_allclose(mean, x.mean((0, 1)), rtol=1e-4)
        np.testing.assert_allclose(std, x.std((0, 1)), rtol=1e-3)
    deviation = after.return_stats.std
    np.testing.assert_allclose(deviation, seen.discounted.std(), rtol=1e-4)
    # Rewards are divided by the deviation that has taken them in.
    _, expected = sequences()(deviation)
    name = "value/explained_variance"
    np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5)


def test_every_epoch_takes_each_environment_once_in_an_order_of_its_own(monkeypatch):
    agent, learner, seen = begin()
    mean = ppo.mean

    def loss(params, agent, cfg, envs):
        zero = jnp.float32(0)
        nothing = sum(x.sum() for x in jax.tree.leaves(params)) * zero
        return nothing, {"policy/kl": zero, ppo.FARTHEST: zero, "envs": envs}

    monkeypatch.setattr(ppo, "minibatch", lambda data, envs: envs)
    monkeypatch.setattr(ppo, "loss", loss)
    # Kept as they are: [epochs, minibatches, environments].
    kept = lambda x: x if x.dtype == jnp.int32 else mean(x)  # noqa: E731
    monkeypatch.setattr(ppo, "mean", kept)
    cfg = dataclasses.replace(CFG, num_epochs=3, num_minibatches=2)
    update = functools.partial(ppo.update, agent, cfg, TINY.curriculum, 1.0)

    def taken(learner, seen):
        keys = jax.random.split(jax.random.PRNGKey(0))
        return [update(learner, seen, key)[1]["envs"] for key in keys]

    both = np.asarray(on_one_device(taken)(learner, seen))
    assert both.shape == (2, 3, 2, N // 2)
    orders = [tuple(x) for x in both.reshape(-1, N)]
    assert all(sorted(order) == list(range(N)) for order in orders)
    assert len(set(orders)) == len(orders)


def test_goals_grow_farther_by_hand():
    """At 1.5 goals per episode over four of them: by a fifth, to 1 rad at most."""
    cfg = CurriculumConfig(enabled=True, growth=1.2, goals=1.5, episodes=4)

    advance = on_one_device(
        lambda progress, steps: curriculum.advance(progress, cfg, 1.0, steps)
    )

    def advanced(progress, ended, goals):
        steps = dict.fromkeys(Rollout.__annotations__)
        steps["episode_end"] = np.array(ended, bool)
        steps["metrics"] = {"goals": np.array(goals, "f4")}
        return advance(progress, Rollout(**steps))

    def state(angle, goals, episodes):
        return pytest.approx((angle, goals, episodes))

    def of(progress):
        return tuple(
            float(progress[k]) for k in ("goal_angle_max", "goals", "episodes")
        )

    zero = jnp.float32(0)
    at = Progress(goal_angle_max=jnp.float32(0.8), goals=zero, episodes=zero)
    # Steps of two environments: only what an episode came to counts.
    at, told = advanced(at, [[0, 1], [1, 1]], [[9, 2], [3, 1]])
    assert of(at) == state(0.8, 6, 3)  # 2 per episode, but of three alone
    expected = {
        "episodes": 3,
        "goal_angle_max": 0.8,
        "step/goals": 15 / 4,
        "episode/goals": 2,
    }
    assert told == pytest.approx(expected)
    at, _ = advanced(at, [[1, 0], [0, 0]], [[0, 9], [9, 9]])
    assert of(at) == state(0.96, 0, 0)
    at, told = advanced(at, [[0, 0], [0, 0]], [[9, 9], [9, 9]])
    assert of(at) == state(0.96, 0, 0)
    assert (told["episodes"], told["episode/goals"]) == (0, 0)
    at, _ = advanced(at, [[1, 1], [1, 1]], [[3, 3], [3, 3]])
    assert of(at) == state(1.0, 0, 0)
    at = at.replace(goal_angle_max=jnp.float32(0.5))
    at, _ = advanced(at, [[1, 1], [1, 1]], [[2, 2], [1, 0]])
    assert of(at) == state(0.5, 0, 0)  # 1.25 per episode: counted anew


class Told(probe_envs.Constant):
    """Says what it is told by the parameters."""

    def reset(self, key, params):
        return self._saying(super().reset(key), params)

    def step(self, state, action, params):
        return self._saying(super().step(state, action), params)

    def _saying(self, state, params):
        said = {"angle": params.goal_angle_max, "limit": params.threshold}
        return state.replace(metrics=state.metrics | said)


STEPS = TINY.steps_per_update
CURRICULUM = CurriculumConfig(
    enabled=True,
    start=0.5,
    growth=1.2,
    goals=0.9,
    episodes=64,
    threshold_start=0.4,
    threshold_steps=4 * STEPS,
)
TOLD = dataclasses.replace(
    TINY,
    curriculum=CURRICULUM,
    env=dataclasses.replace(TINY.env, threshold=0.2, goal_angle_max=0.7),
)


def told_program():
    return Program(
        TOLD, Told(), probe_envs.line(TINY.ppo), make_mesh(jax.devices()[:1])
    )


def test_the_curriculum_reaches_the_environments():
    """Every episode reaches its goal, so goals grow with each update, up to the limit."""
    program = told_program()
    learner = program.init_learner(0)
    actors = program.init_actors(0, probe_envs.PARAMS)

    def said(actors):
        return [float(actors.state.metrics[k][0]) for k in ("angle", "limit")]

    assert said(actors) == pytest.approx([0.5, 0.4])
    for angle, threshold in ((0.5, 0.4), (0.6, 0.35), (0.7, 0.3)):
        learner, actors, metrics = program.update(learner, actors, probe_envs.PARAMS)
        assert metrics["step/angle"] == pytest.approx(angle, rel=1e-4)
        assert metrics["step/limit"] == pytest.approx(threshold, rel=1e-4)
        assert metrics["threshold"] == pytest.approx(threshold)
    # Environments that start anew in a run of three updates.
    anew = program.init_actors(0, probe_envs.PARAMS, 3, learner.progress.goal_angle_max)
    assert said(anew) == pytest.approx([0.7, 0.25])
    first = program.init_actors(0, probe_envs.PARAMS)
    assert not np.array_equal(anew.key, first.key)


def test_the_first_distance_is_the_curriculums_or_the_tasks():
    for start, enabled, first in (
        (0.5, True, 0.5),
        (0.9, True, 0.7),
        (0.5, False, 0.7),
    ):
        cfg = dataclasses.replace(CURRICULUM, start=start, enabled=enabled)
        program = told_program()
        program.config = dataclasses.replace(TOLD, curriculum=cfg)
        assert float(program._first_angle()) == pytest.approx(first)


def test_no_key_of_an_update_is_used_again(monkeypatch):
    """The minibatches' key is not one that the next rollout begins with."""
    keys = []

    def learn(agent, cfg, curriculum, limit, learner, experience, key):
        keys.append(tuple(np.asarray(key)))
        return learner, {}

    def play(env, agent, cfg, learner, actors, params):
        keys.append(tuple(np.asarray(actors.key[0])))
        return actors.replace(key=jax.random.split(actors.key[0], 1)), None

    program = told_program()
    learner = types.SimpleNamespace(
        progress=types.SimpleNamespace(goal_angle_max=0.5), update=jnp.int32(0)
    )
    actors = dict.fromkeys(Actors.__annotations__)
    actors = Actors(**actors | {"key": jax.random.split(jax.random.PRNGKey(0), 1)})
    monkeypatch.setattr(sharding, "rollout", play)
    monkeypatch.setattr(sharding.ppo, "update", learn)
    for _ in range(2):
        _, actors, _ = program._update(learner, actors, probe_envs.PARAMS)
        after = jax.random.split(jnp.array(keys[-2], jnp.uint32), 1)[0]
        keys.append(tuple(np.asarray(after)))
    assert len(set(keys)) == len(keys)
    # Nor does what the next rollout splits its key into hold it.
    nexts = {tuple(np.asarray(k)) for k in jax.random.split(actors.key[0], 3)}
    assert not nexts & set(keys)
