"""The kernel that every room stands on.

Owns: the clock, actors and their capabilities, errors, public ids, money columns, the outbox,
idempotency keys, row-level scopes, table operations for migrations, logging and system checks.
Never: a business word. It knows that rows belong to an organization, not what one is.
"""
