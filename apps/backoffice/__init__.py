"""The staff's door: the admin for finance, the commands for operators.

Owns: admin pages, management commands, the demo world, the supervisor behind `up`.
Never: a rule or a row. It parses, calls one service or selector, and renders.
"""
