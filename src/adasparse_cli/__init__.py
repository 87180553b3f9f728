"""Multi-domain click and conversion prediction from the command line: AdaSparse and its baselines."""

__version__ = "0.1.0"
