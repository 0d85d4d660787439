"""What of a run is done, stale and missing, and why.

python tools/run_status.py --run_dir runs/quickstart
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["status", *sys.argv[1:]])
