"""Asking for money that is owed, step by step, until it comes or the agreement ends.

Owns: campaigns, their versions, the runs of them, and what happened in each.
Never: an attempt to collect, a mail, or the row of an invoice or a subscription: it asks payments
and subscriptions, and tells the rest.
"""
