"""What may be used, and how much of it is left.

Owns: reservations and the turns they are taken in, overrides of what a plan grants, spend caps, and
the one answer to "may this organization use this now".
Never: a price of its own (invoicing says what usage comes to), nor a count (usage counts).
"""
