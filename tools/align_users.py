"""Train the user tower of a run whose items are embedded.

python tools/align_users.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["align-users", *sys.argv[1:]])
