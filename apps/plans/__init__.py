"""What is for sale.

Owns: features, plans, their versions, prices and entitlements, and the catalogue file that they
are written in.
Never: who bought what, what was used, what anybody owes. A published version never changes.
"""
