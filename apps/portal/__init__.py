"""The customers' door: pages for organization owners and members.

Owns: sign-in, the choice of organization, pages and their forms.
Never: a rule or a row. It parses, calls one service or selector, and renders.
"""
