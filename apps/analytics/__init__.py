"""What would be: prices tried on usage, plans compared on customers, invoices seen ahead.

Owns: simulations, comparisons of plans, and forecasts of invoices; all of it is computed.
Never: a row. It reads every room below and writes in none of them.
"""
