"""`python -m mjxhand.pretrained RUN FOLDER`: a policy small enough to travel."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mjxhand import cli, evaluate, pretrained
from mjxhand.config import ConfigError
from mjxhand.runs import NETWORK, VISION, config_to_json

USAGE = "python -m mjxhand.pretrained RUN FOLDER"


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        print(f"{USAGE}\n\n{pretrained.__doc__}")
        return 0
    if len(argv) != 2:
        raise ConfigError(f"give a run and a new folder: {USAGE}")
    run, out = pretrained.folder(argv[0]), Path(argv[1])
    pretrained.refuse_name(out)
    policy = evaluate.load_policy(run)
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(f"{out} exists: give a new folder") from None
    (out / "config.json").write_text(config_to_json(policy.config))
    for name in ("evaluation.json", NETWORK, VISION):
        if (run / name).exists():
            shutil.copy(run / name, out / name)
    pretrained.write(out / pretrained.FILE, policy.params, policy.stats, policy.update)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {size / 2**20:.2f} MiB; play it: python -m mjxhand.evaluate {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
