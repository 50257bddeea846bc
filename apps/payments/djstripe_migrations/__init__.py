"""dj-stripe's migrations, owned: one squashed file in place of the three it ships, then its later ones.

Upstream's own take the better part of a minute, because 514 operations each render all models anew.
`docs/stripe.md` says how to follow a new version.
"""
