"""Worked examples that other billing systems published, run against this engine."""
