"""microburst, before another server on loopback. Run it with the ports of both, its own last."""

import sys

from microburst.cli import main
from microburst.detection import host

if __name__ == "__main__":
    # By hosts it looks for services where a request does not say: ours do, and on loopback there
    # are none. To make the map takes seconds.
    host._endpoint_prefix_map = dict
    main(["--upstream", f"http://127.0.0.1:{sys.argv[1]}", "--port", sys.argv[2]])
