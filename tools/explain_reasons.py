"""Show a reason with its plan and evidence, and what was stopped before it.

python tools/explain_reasons.py --run_dir runs/my_shop --user ann --item coat-7
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["explain", *sys.argv[1:]])
