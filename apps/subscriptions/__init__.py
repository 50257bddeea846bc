"""Who bought what, and when.

Owns: subscriptions, their dated items and quantity steps, the table of states, and the cursor that
says which boundary is billed next.
Never: a price of its own (plans has them) and never an amount owed (invoicing computes those).
"""
