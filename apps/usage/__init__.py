"""What was consumed.

Owns: meters, usage events, the seals behind which they may go and the keys that stay of them,
which of them ClickHouse has, rejected events, the buckets they are rolled up into and the epochs
that say how far, every measurement (a quantity with the evidence to count it again), and the
reports of devices at customers' sites.
Never: prices, subscriptions, invoices. It knows what was used, not who sells it or what it costs.
"""
