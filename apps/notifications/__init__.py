"""Telling people.

Owns: the mails that facts cause.
Never: a decision. Everything it says was decided by the room whose fact it reacts to.
"""
