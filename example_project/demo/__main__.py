"""Entry point of `make demo`."""

from __future__ import annotations

import sys

from example_project.demo.command import main

sys.exit(main(sys.argv[1:]))
