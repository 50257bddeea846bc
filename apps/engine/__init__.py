"""Arithmetic in pure Python: money, periods, prices and the lines of an invoice.

Owns: every sum that ends on an invoice. Money and its one rounding function, periods and billing
    cycles, aggregation's reference, price terms, rating, proration, the rule
    "invoice = propose everything − what is already billed", and what settles a document: discounts,
    taxes, credits, what is due; thresholds that bill early, and when revenue is earned.
Never: imports Django or another room, asks the time, reads rows, or lets a binary fraction near
    money. Moments come in as arguments; answers go out as frozen values.
"""
