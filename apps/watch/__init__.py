"""Watching usage, amounts and credit, and saying when something is worth a look.

Owns: rules for alerts and the alerts they raised, anomalies of usage, and who is watched how.
Never: a mail, a limit that holds, or an invoice row. It asks invoicing to hold a draft.
"""
