"""Imported by every Python process that starts with this folder on its path: a process to be killed installs its hook."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))

from tests.faults.crash import install

install()
