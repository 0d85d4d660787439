"""Measure the reasons and write the report.

python tools/evaluate_reasons.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
