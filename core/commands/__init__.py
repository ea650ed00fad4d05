"""The commands of `python -m core`, one file each; `core/cli.py` puts them together."""
