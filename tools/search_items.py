"""Find the items of a run that are nearest to a text, a picture or a video.

python tools/search_items.py "red hoodie" --run_dir runs/quickstart
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["search", *sys.argv[1:]])
