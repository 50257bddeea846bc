"""The pages of the sandbox: what Stripe hosts for customers, and a look behind the scenes.

`door.answer` is the one way in. Hosted pages (checkout, challenge, invoice, billing portal) are
reached by addresses that nobody can guess, as Stripe's are; the rest is for whoever runs the
system on a laptop, and its forms carry a token against other sites.
"""
