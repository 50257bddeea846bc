"""What is known of metered lines whose events are gone."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.fields import QuantityField, TenantForeignKey
from apps.core.models import TenantRow


class LineSeal(TenantRow):
    """What a line, or a correction of one, had counted when its events were last there.

    It was proven then, from the events themselves; `seal` is the public id of the usage room's
    seal, whose proof covers these rows.
    """

    seal = models.CharField(max_length=40, db_collation="C")
    line = TenantForeignKey("invoicing.InvoiceLine", null=True)
    line_id: int | None
    correction = TenantForeignKey("invoicing.Correction", null=True)
    correction_id: int | None
    quantity = QuantityField()
    events = models.BigIntegerField()
    values = models.BigIntegerField()
    hash = models.CharField(max_length=32, help_text="order-free, over the events' digests")
    sealed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "line"],
                name="a_line_is_sealed_once",
                condition=Q(line__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["organization", "correction"],
                name="a_correction_is_sealed_once",
                condition=Q(correction__isnull=False),
            ),
            models.CheckConstraint(
                condition=Q(line__isnull=True, correction__isnull=False)
                | Q(line__isnull=False, correction__isnull=True),
                name="a_seal_is_of_one_thing",
            ),
        ]
        indexes = [models.Index(fields=["organization", "seal"], name="lines_of_seal")]

    def __str__(self) -> str:
        return f"{self.seal}: {self.quantity.normalize():f}"
