"""Artifacts a model can leave as, one file a format."""
