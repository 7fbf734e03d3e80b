"""Environments whose answer is known, for testing the learner without physics."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mjxhand import agent as agent_module
from mjxhand.env import EnvParams, State
from mjxhand.networks import distributions
from mjxhand.networks.types import Output
from mjxhand.sharding import Program, make_mesh

SIZES = {"vision": 2, "proprioception": 1, "touch": 1, "goal": 1, "privileged": 1}
PARAMS = EnvParams(pool=jnp.zeros(1), goal_angle_max=jnp.float32(1.0))


def program(config, env=None):
    """The program of a run on one device."""
    env = env or Recall()
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    return Program(config, env, agent, make_mesh(jax.devices()[:1]))


def traced_update(config, env):
    """Metrics of one update of `env`, as shapes: traced, not compiled."""
    run = program(config, env)
    learner = jax.eval_shape(run._learner, jax.random.PRNGKey(0))
    keys = jax.random.split(jax.random.PRNGKey(0), 1)
    actors = jax.eval_shape(run._init_actors, keys, PARAMS)
    return jax.eval_shape(run.update, learner, actors, PARAMS)[2]


class Line(nn.Module):
    """The least network: logits and value are linear in vision; nothing is remembered."""

    num_outputs: int

    def initial_carry(self, batch, key=None):
        return jnp.zeros((batch, 1))

    @nn.compact
    def __call__(self, carry, obs, began):
        logits = nn.Dense(self.num_outputs, name="policy")(obs["vision"])
        value = nn.Dense(1, name="value")(obs["vision"])[..., 0]
        return carry, Output(logits=logits, value=value, areas={})


def line(cfg):
    """The agent of a `Line` with two bins of one actuator; compiles in no time."""
    distribution = distributions.MultiCategorical(1, 2)
    return agent_module.Agent(Line(2), distribution, SIZES, cfg.normalize_obs)


class Probe:
    """One actuator; episodes of `length` steps; subclasses say what is seen and paid."""

    observation_sizes = SIZES
    num_actuators = 1
    length = 1
    terminates = True

    def cue(self, key):
        return jnp.float32(0)

    def vision(self, cue, t):
        return jnp.zeros(2)

    def pay(self, cue, t, action):
        return jnp.float32(0)

    def _state(self, key, cue, t, reward, end):
        obs = {name: jnp.zeros(size) for name, size in SIZES.items()}
        obs["vision"] = self.vision(cue, t)
        return State(
            physics=jnp.zeros(1),
            target=jnp.zeros(1),
            goal=cue[None],
            distance=jnp.float32(0),
            goal_step=t,
            episode_step=t,
            goals=jnp.int32(0),
            key=key,
            obs=obs,
            reward=reward,
            terminated=end & self.terminates,
            truncated=end & (not self.terminates),
            metrics={"goals": reward, "length": t.astype(jnp.float32)},
        )

    def reset(self, key, params=None):
        key, key_cue = jax.random.split(key)
        no = jnp.bool_(False)
        return self._state(key, self.cue(key_cue), jnp.int32(0), jnp.float32(0), no)

    def step(self, state, action, params=None):
        t = state.episode_step + 1
        cue = state.goal[0]
        reward = self.pay(cue, state.episode_step, action[0])
        return self._state(state.key, cue, t, reward, t >= self.length)


class Constant(Probe):
    """Pays 1 and ends: V = 1."""

    def pay(self, cue, t, action):
        return jnp.float32(1)


class Delayed(Probe):
    """Two steps, pays 1 at the end: V(first) = γ, V(second) = 1."""

    length = 2

    def vision(self, cue, t):
        return jnp.stack([t == 0, t == 1]).astype(jnp.float32)

    def pay(self, cue, t, action):
        return jnp.where(t == 1, 1.0, 0.0)


class Endless(Probe):
    """Pays 1 for ever; episodes are cut by a time limit: V = 1/(1 - γ)."""

    length = 3
    terminates = False

    def pay(self, cue, t, action):
        return jnp.float32(1)


class Match(Probe):
    """Shows ±1; pays 1 for bin 1 when +1 and bin 0 when -1."""

    def cue(self, key):
        return jax.random.rademacher(key, (), jnp.float32)

    def vision(self, cue, t):
        return jnp.stack([cue, 0.0 * cue])

    def pay(self, cue, t, action):
        return jnp.where(action == (cue > 0), 1.0, 0.0)


class Recall(Match):
    """Shows ±1 in the first step only and pays for naming it in the last one.

    Without memory the best policy earns 0.5. Five steps against chunks of eight: the cue
    and the answer lie in different chunks in half of the episodes.
    """

    length = 5

    def vision(self, cue, t):
        return jnp.stack([jnp.where(t == 0, cue, 0.0), (t == 4).astype(jnp.float32)])

    def pay(self, cue, t, action):
        return jnp.where((t == 4) & (action == (cue > 0)), 1.0, 0.0)
