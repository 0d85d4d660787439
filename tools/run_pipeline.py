"""All stages in order; only what is missing is done.

python tools/run_pipeline.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
