"""What is owed.

Owns: invoices and their explained lines, number series, the ledger, parked subscriptions, and the
books that prove it all.
Never: a clock, a network call or a second way to compute a price: the engine has the only one.
"""
