"""Migration operations that make the database itself refuse what must never happen.

`TenantTable` isolates a table by organization, `PlatformTable` makes one read-only for tenants,
`AppendOnly` and `StateMachine` guard rows and transitions. They are plain triggers, policies and
grants of the schema's owner, so the run-time login cannot switch them off. A catalogue test reads
them back from PostgreSQL, so no table escapes by being forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Model

from apps.core.fields import TenantForeignKey

APP, OPS, OWNER = "billing_app", "billing_ops", "billing_owner"
CURRENT = "(SELECT app_organization_id())"


class _TableOperation(Operation):
    """An operation on one model's table that changes no Django state."""

    reduces_to_sql = True
    reversible = True

    def __init__(self, model: str) -> None:
        self.model = model

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: Django does not know about policies and triggers."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the operation's statements."""
        model = to_state.apps.get_model(app_label, self.model)
        for statement in self.forwards(model):
            schema_editor.execute(statement, params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the statements that take it back."""
        model = from_state.apps.get_model(app_label, self.model)
        for statement in self.backwards(model):
            schema_editor.execute(statement, params=None)

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Return the statements for this table."""
        raise NotImplementedError

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Return the statements that undo them; the table itself goes with its model."""
        return ()

    def describe(self) -> str:
        """Name the operation in `migrate`'s output."""
        return f"{type(self).__name__} for {self.model}"


class TenantTable(_TableOperation):
    """Isolate the table by organization: forced row-level security and composite keys.

    `column` holds the organization's integer id. Rows where it is NULL belong to the platform and
    are seen by the ops scope only. Where rows are many and nothing will ever refer to them,
    `referenced=False` spares the index that composite keys of others would need.
    """

    def __init__(
        self, model: str, column: str = "organization_id", *, referenced: bool = True
    ) -> None:
        super().__init__(model)
        self.column, self.referenced = column, referenced

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Enable and force the policies, add the composite keys."""
        table = model._meta.db_table
        mine = f"{self.column} = {CURRENT}"
        yield f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY'
        yield f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY'
        yield f'CREATE POLICY tenant_rows ON "{table}" TO {APP} USING ({mine}) WITH CHECK ({mine})'
        for role in (OPS, OWNER):
            yield f'CREATE POLICY {role}_rows ON "{table}" TO {role} USING (true) WITH CHECK (true)'
        if self.column != "id" and self.referenced:
            yield (
                f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_tenant_key"'
                f" UNIQUE ({self.column}, id)"
            )
        for key in model._meta.concrete_fields:
            if isinstance(key, TenantForeignKey):
                yield composite_key(table, self.column, key)

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Lift the policies; the table and its keys go with the model."""
        table = model._meta.db_table
        for policy in ("tenant_rows", f"{OPS}_rows", f"{OWNER}_rows"):
            yield f'DROP POLICY {policy} ON "{table}"'
        yield f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY'


def composite_key(table: str, column: str, key: TenantForeignKey) -> str:
    """Return the statement for one (organization, row) foreign key, checked at commit."""
    target = key.remote_field.model._meta.db_table
    return (
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_{key.column}_tenant_fk"'
        f' FOREIGN KEY ({column}, {key.column}) REFERENCES "{target}" (organization_id, id)'
        " DEFERRABLE INITIALLY DEFERRED"
    )


class TenantKeys(_TableOperation):
    """Add the composite keys of TenantForeignKeys that joined the table after its `TenantTable`."""

    def __init__(self, model: str, *fields: str) -> None:
        super().__init__(model)
        self.fields = fields

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Add one constraint a field."""
        for key in self._keys(model):
            yield composite_key(model._meta.db_table, "organization_id", key)

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Drop the constraints."""
        table = model._meta.db_table
        for key in self._keys(model):
            yield f'ALTER TABLE "{table}" DROP CONSTRAINT "{table}_{key.column}_tenant_fk"'

    def _keys(self, model: type[Model]) -> Iterable[TenantForeignKey]:
        for name in self.fields:
            key = model._meta.get_field(name)
            if not isinstance(key, TenantForeignKey):
                raise TypeError(f"{model.__name__}.{name} is no TenantForeignKey")
            yield key


class PlatformTable(_TableOperation):
    """Let tenants read the table and only the ops scope write it: the catalogue's guard."""

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Take the write grants from the tenants' role."""
        yield f'REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON "{model._meta.db_table}" FROM {APP}'

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Give them back."""
        yield f'GRANT INSERT, UPDATE, DELETE ON "{model._meta.db_table}" TO {APP}'


class PrivateTable(_TableOperation):
    """Keep the table from the tenants' role altogether."""

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Take every grant from the tenants' role."""
        yield f'REVOKE ALL ON "{model._meta.db_table}" FROM {APP}'


class AppendOnly(_TableOperation):
    """Refuse DELETE and TRUNCATE always, and UPDATE outside `may_change`.

    `when` is an SQL condition on OLD under which the row is protected, such as
    `OLD.status <> 'draft'`; empty means always.
    """

    def __init__(self, model: str, *, when: str = "", may_change: Sequence[str] = ()) -> None:
        super().__init__(model)
        self.when, self.may_change = when, list(may_change)

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Create the trigger and take the grants."""
        table = model._meta.db_table
        yield _append_only_function(table, self.when, self.may_change)
        yield (
            f'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON "{table}"'
            f' FOR EACH ROW EXECUTE FUNCTION "{table}_append_only"()'
        )
        yield (
            f'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON "{table}"'
            f' FOR EACH STATEMENT EXECUTE FUNCTION "{table}_append_only"()'
        )
        yield f'REVOKE TRUNCATE ON "{table}" FROM {APP}, {OPS}'
        if not self.when:
            grants = "DELETE" if self.may_change else "UPDATE, DELETE"
            yield f'REVOKE {grants} ON "{table}" FROM {APP}, {OPS}'

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Drop the trigger."""
        table = model._meta.db_table
        yield f'DROP TRIGGER append_only ON "{table}"'
        yield f'DROP TRIGGER append_only_truncate ON "{table}"'
        yield f'DROP FUNCTION "{table}_append_only"()'


class AppendOnlyExcept(_TableOperation):
    """Change which columns of an append-only table may still change; the triggers stay.

    `before` and `after` are the whole lists; `when` is the condition of the table's `AppendOnly`.
    """

    def __init__(
        self, model: str, *, before: Sequence[str], after: Sequence[str], when: str = ""
    ) -> None:
        super().__init__(model)
        self.before, self.after, self.when = list(before), list(after), when

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Replace the trigger's function."""
        yield _append_only_function(model._meta.db_table, self.when, self.after)

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Put the function back as it was."""
        yield _append_only_function(model._meta.db_table, self.when, self.before)


class MayLeave(_TableOperation):
    """Let rows of an append-only table be deleted under a condition on OLD; the triggers stay.

    The grants stay away too: whoever deletes is a function of the schema's owner. `when` and
    `may_change` are those of the table's `AppendOnly`; `before` is the condition that was in force.
    """

    def __init__(
        self,
        model: str,
        *,
        leaves: str,
        before: str = "",
        when: str = "",
        may_change: Sequence[str] = (),
    ) -> None:
        super().__init__(model)
        self.leaves, self.before, self.when = leaves, before, when
        self.may_change = list(may_change)

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Replace the trigger's function."""
        yield _append_only_function(
            model._meta.db_table, self.when, self.may_change, leaves=self.leaves
        )

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Put the function back as it was."""
        yield _append_only_function(
            model._meta.db_table, self.when, self.may_change, leaves=self.before
        )


def _append_only_function(
    table: str, when: str, may_change: Iterable[str], *, leaves: str = ""
) -> str:
    old, new = "to_jsonb(OLD)", "to_jsonb(NEW)"
    for column in may_change:
        old, new = f"{old} - '{column}'", f"{new} - '{column}'"
    may_leave = f"IF {leaves} THEN RETURN OLD; END IF;\n    " if leaves else ""
    return f"""
CREATE OR REPLACE FUNCTION "{table}_append_only"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    RAISE EXCEPTION '{table}: rows are facts and stay' USING ERRCODE = '42501';
  END IF;
  IF NOT ({when or "true"}) THEN
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
  END IF;
  IF TG_OP = 'DELETE' THEN
    {may_leave}RAISE EXCEPTION '{table}: row % is a fact and stays', OLD.id USING ERRCODE = '42501';
  END IF;
  IF ({old}) IS DISTINCT FROM ({new}) THEN
    RAISE EXCEPTION '{table}: row % is a fact and never changes', OLD.id USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END $$"""


class StateMachine(_TableOperation):
    """Refuse every change of `field` that is not in `transitions`, pairs of (from, to)."""

    def __init__(self, model: str, field: str, transitions: Sequence[tuple[str, str]]) -> None:
        super().__init__(model)
        self.field, self.transitions = field, [(old, new) for old, new in transitions]

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Create the trigger."""
        table, field = model._meta.db_table, self.field
        yield _machine_function(table, field, self.transitions)
        yield (
            f'CREATE TRIGGER {field}_machine BEFORE UPDATE OF {field} ON "{table}" FOR EACH ROW'
            f" WHEN (OLD.{field} IS DISTINCT FROM NEW.{field})"
            f' EXECUTE FUNCTION "{table}_{field}_machine"()'
        )

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Drop the trigger."""
        table = model._meta.db_table
        yield f'DROP TRIGGER {self.field}_machine ON "{table}"'
        yield f'DROP FUNCTION "{table}_{self.field}_machine"()'


class StateMachineExcept(_TableOperation):
    """Change the transitions of a `StateMachine`; its trigger stays. Both are whole lists."""

    def __init__(
        self,
        model: str,
        field: str,
        *,
        before: Sequence[tuple[str, str]],
        after: Sequence[tuple[str, str]],
    ) -> None:
        super().__init__(model)
        self.field, self.before, self.after = field, list(before), list(after)

    def forwards(self, model: type[Model]) -> Iterable[str]:
        """Replace the trigger's function."""
        yield _machine_function(model._meta.db_table, self.field, self.after)

    def backwards(self, model: type[Model]) -> Iterable[str]:
        """Put the function back as it was."""
        yield _machine_function(model._meta.db_table, self.field, self.before)


def _machine_function(table: str, field: str, transitions: Sequence[tuple[str, str]]) -> str:
    allowed = ", ".join(f"('{a}', '{b}')" for a, b in transitions)
    return f"""
CREATE OR REPLACE FUNCTION "{table}_{field}_machine"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.{field}, NEW.{field}) NOT IN ({allowed}) THEN
    RAISE EXCEPTION '{table}: {field} cannot go from % to %', OLD.{field}, NEW.{field}
      USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$"""
