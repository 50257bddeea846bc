"""Who acts, and what they may do. Doors make an Actor; services ask `require()`."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.core.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody or something that acts.

    `kind` is user, staff, api_key, operator or system; `id` its public id; `label` a name for
    people; `organization_id` the organization it is bound to (None: the platform itself);
    `capabilities` what it may do, `ALL` for operators and the system.
    """

    kind: str
    id: str
    label: str
    organization_id: int | None = None
    capabilities: frozenset[str] = field(default_factory=frozenset)

    def may(self, capability: str) -> bool:
        """Tell whether the actor has the capability."""
        return "*" in self.capabilities or capability in self.capabilities


ALL = frozenset({"*"})


def system(label: str) -> Actor:
    """Return the actor for the system's own jobs, such as the scheduler."""
    return Actor("system", label, label, None, ALL)


def operator(label: str) -> Actor:
    """Return the actor for a management command: whoever can run it owns the machine."""
    return Actor("operator", label, label, None, ALL)


def require(capability: str, *, actor: Actor, organization_id: int | None = None) -> None:
    """Raise Forbidden unless the actor has the capability, in that organization if one is given."""
    foreign = (
        organization_id is not None
        and actor.organization_id is not None
        and actor.organization_id != organization_id
    )
    if foreign or not actor.may(capability):
        raise Forbidden(
            f"{actor.label} may not do this: it needs the capability '{capability}'.",
            capability=capability,
        )
