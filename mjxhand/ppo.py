"""Recurrent proximal policy optimisation, one update.

Reference: Schulman et al. 2017, arXiv:1707.06347.
Runs inside `shard_map`: the only communication is the mean of gradients and of statistics over
the mesh axis `devices.AXIS`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mjxhand import running
from mjxhand.agent import Agent
from mjxhand.body import POSE
from mjxhand.chunks import Sequences as Sequences
from mjxhand.chunks import gae, minibatch, to_chunks
from mjxhand.config import ConfigError, CurriculumConfig, PPOConfig
from mjxhand.curriculum import advance
from mjxhand.devices import AXIS, largest, mean
from mjxhand.networks import pose
from mjxhand.types import Learner, Rollout

# Adam's ε of the showcase; the default 1e-8 lets rare inputs take huge first steps.
ADAM_EPSILON = 1e-5
# Normalised rewards are cut to ± this, as in the showcase.
MAX_REWARD = 10.0
LEARNING_RATE_RANGE = (1e-5, 1e-2)
FARTHEST = "policy/max_log_ratio"
"""Metric: largest change of an action's log-probability that an update saw."""
SKIPPED = "skipped_steps"
"""Metric: gradient steps of an update that were left out, loss or gradient being no number."""


def optimizer(cfg: PPOConfig) -> optax.GradientTransformation:
    """Adam after clipping the global norm; the step size is applied by `update`."""
    return optax.chain(
        optax.clip_by_global_norm(cfg.max_grad_norm),
        optax.scale_by_adam(eps=ADAM_EPSILON),
    )


def loss(
    params: Any, agent: Agent, cfg: PPOConfig, batch: Sequences
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Clipped surrogate + value error - entropy of a minibatch (eq. 9 of the PPO paper).

    Returns:
        The scalar to minimise and named diagnostics, each a scalar.
    """
    _, out = agent.apply(params, batch.carry, batch.obs, batch.began)
    log_prob = agent.distribution.log_prob(out.logits, batch.action)
    log_ratio = log_prob - batch.log_prob
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - cfg.clip, 1.0 + cfg.clip)
    policy = -jnp.mean(jnp.minimum(ratio * batch.advantage, clipped * batch.advantage))

    error = jnp.square(out.value - batch.target)
    if cfg.value_clip is not None:
        near = batch.value + jnp.clip(
            out.value - batch.value, -cfg.value_clip, cfg.value_clip
        )
        error = jnp.maximum(error, jnp.square(near - batch.target))
    value = jnp.mean(error)
    entropy = jnp.mean(agent.distribution.entropy(out.logits))
    total = policy + cfg.value_weight * value - cfg.entropy_weight * entropy
    seen = {}
    if cfg.pose_weight:
        if out.pose is None or batch.pose is None:
            raise ConfigError("ppo.pose_weight: this network reads no pose from frames")
        seen = {
            "loss/pose": jnp.mean(pose.loss(out.pose, batch.pose)),
            "loss/pose_angle": jnp.mean(pose.errors(out.pose, batch.pose).angle),
        }
        total += cfg.pose_weight * seen["loss/pose"]
    return total, seen | {
        "loss/policy": policy,
        "loss/value": value,
        "loss/total": total,
        "policy/entropy": entropy,
        # Schulman's low-variance estimate of KL(old ‖ new): E[(r - 1) - log r].
        "policy/kl": jnp.mean(ratio - 1.0 - log_ratio),
        "policy/clip_fraction": jnp.mean(jnp.abs(ratio - 1.0) > cfg.clip),
        FARTHEST: jnp.max(jnp.abs(log_ratio)),
    }


def sequences(
    agent: Agent, cfg: PPOConfig, learner: Learner, experience: Rollout, return_stats
) -> tuple[Sequences, dict[str, jax.Array]]:
    """Advantages, targets and normalised observations, cut into chunks `[L, N, C, ...]`."""
    reward = experience.reward
    if cfg.normalize_reward:
        reward = jnp.clip(reward / return_stats.std, -MAX_REWARD, MAX_REWARD)
    advantage = gae(
        reward,
        experience.value,
        experience.next_value,
        experience.terminated,
        experience.episode_end,
        gamma=cfg.gamma,
        lam=cfg.lam,
    )
    target = advantage + experience.value
    center = mean(advantage)
    deviation = jnp.sqrt(mean(jnp.square(advantage - center)))
    variance = mean(jnp.square(target - mean(target)))
    unexplained = mean(jnp.square(advantage)) / (variance + 1e-8)
    steps = {
        # The statistics that the acting policy used, so that its ratio starts at 1.
        "obs": agent.normalize(experience.obs, learner.obs_stats),
        "began": experience.began,
        "action": experience.action,
        "log_prob": experience.log_prob,
        "value": experience.value,
        "advantage": (advantage - center) / (deviation + 1e-8),
        "target": target,
    }
    if cfg.pose_weight:
        # Of an environment with an eye, the object's pose ends the privileged stream.
        steps["pose"] = experience.obs["privileged"][..., -POSE:]
    chunks = jax.tree.map(lambda x: to_chunks(x, cfg.chunk_length), steps)
    carry = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), experience.carry)
    return Sequences(carry=carry, **chunks), {
        "value/explained_variance": 1.0 - unexplained
    }


def update(
    agent: Agent,
    cfg: PPOConfig,
    curriculum: CurriculumConfig,
    goal_angle_limit: float,
    learner: Learner,
    experience: Rollout,
    key: jax.Array,
) -> tuple[Learner, dict[str, jax.Array]]:
    """E epochs of minibatches over environments; statistics and curriculum move afterwards.

    Args:
        key: this device's own; it permutes this device's environments.

    Returns:
        The next learner and metrics, both equal on every device.
    """
    return_stats = _update_stats(learner.return_stats, experience.discounted)
    data, metrics = sequences(agent, cfg, learner, experience, return_stats)
    num_envs = experience.reward.shape[1]
    size = num_envs // cfg.num_minibatches

    def gradient_step(state, envs):
        params, opt_state = state
        (total, infos), grads = jax.value_and_grad(loss, has_aux=True)(
            params, agent, cfg, minibatch(data, envs)
        )
        total, grads = jax.lax.pmean((total, grads), AXIS)
        steps, moments = optimizer(cfg).update(grads, opt_state, params)
        steps = jax.tree.map(lambda x: -learner.learning_rate * x, steps)
        norm = optax.tree.norm(grads)
        # The norm of finite gradients may overflow: no step of any use comes of it either.
        finite = jnp.isfinite(norm) & jnp.isfinite(total)
        infos |= {"policy/grad_norm": norm, SKIPPED: ~finite}
        after = (optax.apply_updates(params, steps), moments)
        return _choose(finite, after, state), infos

    def epoch(state, key):
        order = jax.random.permutation(key, num_envs)
        return jax.lax.scan(gradient_step, state, order.reshape(-1, size))

    (params, opt_state), infos = jax.lax.scan(
        epoch,
        (learner.params, learner.opt_state),
        jax.random.split(key, cfg.num_epochs),
    )
    kl = mean(infos["policy/kl"][-1])
    if cfg.num_epochs * cfg.num_minibatches == 1:  # a first step sees none
        kl = mean(
            loss(params, agent, cfg, minibatch(data, jnp.arange(num_envs)))[1][
                "policy/kl"
            ]
        )
    # Equal on every device, as what it comes from is.
    metrics[SKIPPED] = jnp.sum(infos.pop(SKIPPED).astype(jnp.float32))
    metrics[FARTHEST] = largest(infos.pop(FARTHEST))
    metrics |= {k: mean(v) for k, v in infos.items()}
    metrics |= {"policy/kl": kl, "policy/learning_rate": learner.learning_rate}
    progress, counts = advance(
        learner.progress, curriculum, goal_angle_limit, experience
    )
    metrics |= counts
    return Learner(
        params=params,
        opt_state=opt_state,
        obs_stats=_update_stats(learner.obs_stats, agent.measured(experience.obs)),
        return_stats=return_stats,
        learning_rate=_adapt(learner.learning_rate, kl, cfg),
        progress=progress,
        update=learner.update + 1,
    ), metrics


def _update_stats(stats, batch):
    """Statistics with `batch` [T, N, ...] added, unless that would make one no number."""
    after = running.update(stats, batch, AXIS)
    finite = jnp.array([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(after)])
    return _choose(jnp.all(finite), after, stats)


def _choose(condition: jax.Array, new: Any, old: Any) -> Any:
    """`new` if the condition [] holds, else `old`; pytrees of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _adapt(learning_rate: jax.Array, kl: jax.Array, cfg: PPOConfig) -> jax.Array:
    """Step size after an update whose last epoch moved the policy by `kl`."""
    if cfg.target_kl is None:
        return learning_rate
    factor = jnp.where(
        kl > 2.0 * cfg.target_kl, 1 / 1.5, jnp.where(kl < 0.5 * cfg.target_kl, 1.5, 1.0)
    )
    low, high = LEARNING_RATE_RANGE
    # A start outside the range is the user's word, and widens it.
    low, high = min(low, cfg.learning_rate), max(high, cfg.learning_rate)
    return jnp.clip(learning_rate * factor, low, high)
