"""Who did what, when, from what to what.

Owns: audit entries, chained by hashes, one chain per organization and one for the platform.
Never: a foreign key. Records outlive what they describe, and nobody edits them.
"""
