"""Say what a folder's files and columns are taken for, and write the mapping to edit.

python tools/map_columns.py my_shop --write my_mapping.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["columns", *sys.argv[1:]])
