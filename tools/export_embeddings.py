"""Write a run's embeddings as Parquet or NumPy.

python tools/export_embeddings.py embeddings.parquet --run_dir runs/quickstart
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["export-embeddings", *sys.argv[1:]])
