"""Money coming in.

Owns: payments recorded against invoices, and the mirror of what Stripe believes.
Never: an invoice row. It tells invoicing what was paid and invoicing writes it.
"""
