from django.db import migrations

# Checks at the end of a transaction run in whatever scope is open by then, and would see no rows in
# none: one let everything pass, the others refused what was right. They see what the owner sees.
GUARDS = ("invoicing_ledger_balance", "invoicing_credit_balance", "invoicing_note_balance")
SEE_ALL = "ALTER FUNCTION {}() SECURITY DEFINER SET search_path = public, pg_temp"
SEE_MINE = "ALTER FUNCTION {}() SECURITY INVOKER RESET search_path"


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0004_healing_mark")]

    operations = [
        migrations.RunSQL(SEE_ALL.format(guard), SEE_MINE.format(guard)) for guard in GUARDS
    ]
