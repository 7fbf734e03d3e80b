"""One update as one compiled program over every device.

`shard_map` over the mesh axis "device": the learner is replicated, the actors are split over
environments. Under plain jit with sharded inputs the solver's loop would all-reduce at every
iteration; here the rollout has no collective at all.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mjxhand import numbers, ppo, running, vision_file
from mjxhand.agent import Agent, strong
from mjxhand.config import Config
from mjxhand.curriculum import threshold_at as threshold_at
from mjxhand.devices import AXIS
from mjxhand.env import EnvParams
from mjxhand.rollout import init_actors, rollout
from mjxhand.types import Actors, Environment, Learner, Progress


def make_mesh(devices: list | None = None) -> Mesh:
    """One axis, "device", over all devices (or those given)."""
    return Mesh(np.array(devices or jax.devices()), (AXIS,))


class Program:
    """The compiled functions of a run. Holds no state of the run.

    `init_learner(seed)` and `init_actors(seed, params)` begin a run;
    `update(learner, actors, params) -> (learner, actors, metrics)` goes on with it and donates
    its first two arguments. With `debug_nans` it is slow, donates nothing, and raises
    `numbers.NotANumber` at the first operation that gives NaN.
    """

    def __init__(
        self,
        config: Config,
        env: Environment,
        agent: Agent,
        mesh: Mesh,
        debug_nans: bool = False,
    ):
        self.config = config
        self.env = env
        self.agent = agent
        self.mesh = mesh
        self.replicated = NamedSharding(mesh, P())
        self.split = NamedSharding(mesh, P(AXIS))
        mapped = partial(jax.shard_map, mesh=mesh, check_vma=False)
        self._init_actors = jax.jit(
            mapped(self._actors, in_specs=(P(AXIS), P()), out_specs=P(AXIS)),
            out_shardings=self.split,
        )
        self._init_learner = jax.jit(self._learner, out_shardings=self.replicated)
        update = mapped(
            self._update,
            in_specs=(P(), P(AXIS), P()),
            out_specs=(P(), P(AXIS), P()),
        )
        if debug_nans:
            self.update = numbers.checked(update)
            return
        self.update = jax.jit(
            update,
            # Said here too: on a mesh of one device jit would otherwise return "split" as
            # "replicated", and the second call would compile again.
            out_shardings=(self.replicated, self.split, self.replicated),
            donate_argnums=(0, 1),
        )

    def init_learner(self, seed: int) -> Learner:
        """Fresh weights, optimiser, statistics and curriculum.

        V1 to IT come from `network.vision_stream`, if that names a file and they are areas of
        the network.

        Raises:
            ConfigError: it cannot be read, or holds other areas.
        """
        learner = self._init_learner(jax.random.PRNGKey(seed))
        file, env = self.config.network.vision_stream, self.config.env
        if not file or env.vision != "pixels":
            return learner
        params = vision_file.put(learner.params, file, env.cameras, env.frame_size)
        return learner.replace(params=jax.device_put(params, self.replicated))

    def learner_shapes(self) -> Learner:
        """Shapes and types of a learner's arrays."""
        return jax.eval_shape(self._learner, jax.random.PRNGKey(0))

    def init_actors(
        self,
        seed: int,
        params: EnvParams,
        update: int = 0,
        goal_angle_max: jax.Array | None = None,
    ) -> Actors:
        """Environments at the start of an episode, split over the devices.

        Args:
            update: updates that the run has had; other ones, other episodes.
            goal_angle_max: the curriculum's farthest goal by now, rad; None: at its start.
        """
        angle = self._first_angle() if goal_angle_max is None else goal_angle_max
        params = self._now(params, angle, jnp.int32(update))
        key = jax.random.fold_in(jax.random.PRNGKey(seed), 1)
        if update:
            key = jax.random.fold_in(key, update)
        keys = jax.random.split(key, self.mesh.size)
        return self._init_actors(jax.device_put(keys, self.split), params)

    def place_params(self, params: EnvParams) -> EnvParams:
        """`params` copied to every device."""
        return jax.device_put(params, self.replicated)

    def _first_angle(self) -> jax.Array:
        """Farthest goal when a run begins, rad."""
        limit, curriculum = self.config.env.goal_angle_max, self.config.curriculum
        near = min(curriculum.start, limit) if curriculum.enabled else limit
        return jnp.float32(near)

    def _learner(self, key: jax.Array) -> Learner:
        cfg = self.config
        params = self.agent.init(key)
        zero = jnp.float32(0)
        return strong(
            Learner(
                params=params,
                opt_state=ppo.optimizer(cfg.ppo).init(params),
                obs_stats=self.agent.init_stats(),
                return_stats=_scalar_stats(),
                learning_rate=jnp.float32(cfg.ppo.learning_rate),
                progress=Progress(
                    goal_angle_max=self._first_angle(), goals=zero, episodes=zero
                ),
                update=jnp.int32(0),
            )
        )

    def _now(
        self, params: EnvParams, goal_angle_max: jax.Array, update: jax.Array
    ) -> EnvParams:
        """`params` with what the curriculum says after `update` updates."""
        cfg = self.config
        # In floating point: the control steps of a long run do not fit into an int32.
        steps = update.astype(jnp.float32) * cfg.steps_per_update
        return params.replace(
            goal_angle_max=goal_angle_max,
            threshold=threshold_at(cfg, steps),
            onward=cfg.curriculum.onward or None,
            keep_state=cfg.curriculum.keep_state or None,
        )

    def _actors(self, keys: jax.Array, params: EnvParams) -> Actors:
        num_envs = self.config.ppo.num_envs // self.mesh.size
        return init_actors(self.env, self.agent, num_envs, keys[0], params)

    def _update(
        self, learner: Learner, actors: Actors, params: EnvParams
    ) -> tuple[Learner, Actors, dict[str, jax.Array]]:
        cfg = self.config
        params = self._now(params, learner.progress.goal_angle_max, learner.update)
        actors, experience = rollout(
            self.env, self.agent, cfg.ppo, learner, actors, params
        )
        key, key_update = jax.random.split(actors.key[0])
        learner, metrics = ppo.update(
            self.agent,
            cfg.ppo,
            cfg.curriculum,
            cfg.env.goal_angle_max,
            learner,
            experience,
            key_update,
        )
        if params.threshold is not None:
            metrics["threshold"] = params.threshold
        return learner, actors.replace(key=key[None]), metrics


def _scalar_stats() -> running.RunningStatistics:
    return running.init(jnp.zeros(()))
