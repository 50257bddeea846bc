"""Who is who.

Owns: billing entities, organizations, users, memberships and roles, invitations, applications,
external ids, API keys, sessions at the API, trusted issuers of tokens, and the matrix of who may
do what.
Never: what anybody bought, used or owes.
"""
