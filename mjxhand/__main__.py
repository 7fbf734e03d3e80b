"""`python -m mjxhand`: which commands there are. `python -m mjxhand COMMAND …` runs one."""

import importlib.util
import sys
from collections.abc import Sequence

from mjxhand.arguments import suggest

COMMANDS = {
    "train": "train a brain; saves, evaluates, films",
    "evaluate": "goals per episode of a trained policy",
    "compare": "what differs between runs, and what came of it",
    "render": "a film of it",
    "view": "MuJoCo's interactive viewer with the policy running",
    "analyse": "what each area encodes and what it is needed for",
    "analyse.across": "what holds over the analyses of several networks",
    "pretrain": "teach V1 to IT the object's pose from camera frames",
    "pretrained": "a policy small enough to send",
    "export": "a copy of a run that continues on another machine",
    "atlas": "areas, units, pathways and their sources",
    "randomize": "what domain randomisation changes",
    "doctor": "what this machine has, and a 20-second test",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, or list them all."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print("python -m mjxhand COMMAND [--help], also python -m mjxhand.COMMAND:\n")
        for name, text in COMMANDS.items():
            print(f"  {name:<16}{text}")
        return 0
    name, *rest = argv
    if name not in COMMANDS:
        print(
            f"error: no command {name!r}{suggest(name, COMMANDS)}; python -m mjxhand "
            "lists them",
            file=sys.stderr,
        )
        return 2
    module = f"mjxhand.{name}"
    found = importlib.util.find_spec(module)
    if found and found.submodule_search_locations:
        module += ".__main__"
    return importlib.import_module(module).main(rest)


if __name__ == "__main__":
    sys.exit(main())
