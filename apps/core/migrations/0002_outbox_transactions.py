from django.db import migrations, models

import apps.core.fields


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="outboxevent",
            name="xid",
            field=apps.core.fields.TransactionIdField(
                db_default=apps.core.fields.CurrentTransaction(), editable=False
            ),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(fields=["organization_id", "xid"], name="outbox_by_transaction"),
        ),
    ]
