"""A stand-in for Stripe on laptops and in tests.

Owns: its own store (one sqlite file), a clock that can be moved, test cards, signed webhooks.
Never: our database, our rooms, a live key. Nobody imports it: payments reaches it over HTTP, tests
through the client in `transports`.
"""
