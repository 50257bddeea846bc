"""Who is who.

Owns: billing entities, organizations, users, memberships and roles, invitations, applications,
external ids and API keys, and the matrix of who may do what.
Never: what anybody bought, used or owes.
"""
