"""Who is who.

Owns: billing entities, organizations, users, memberships and roles, invitations, applications,
external ids, API keys, sessions at the API and in browsers, second factors and accounts at other
providers (in allauth's tables), trusted issuers of tokens, and the matrix of who may do what.
Never: what anybody bought, used or owes.
"""
