"""Who may sit: the seats that are bought, the people they are given to, and who was seen in them.

Owns: pools (one for each licensed item of a subscription whose seats are given to people), seats,
and the answer that products ask for on every login: may this person use this application now.
Never: a price or a quantity of its own. Seats are bought by changing the subscription, through
invoicing, and what is bought is the quantity that the subscription stands at.
"""
