"""Write a run's reasons as Parquet, JSON Lines or CSV.

python tools/export_reasons.py reasons.jsonl --run_dir runs/quickstart
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["export-reasons", *sys.argv[1:]])
