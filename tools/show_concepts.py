"""Show which facts mean the same, and write a table of them to correct.

python tools/show_concepts.py --run_dir runs/demo
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["concepts", *sys.argv[1:]])
