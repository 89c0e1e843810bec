"""The two house accounts, and the trigger that refuses to change or delete a transfer."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("balance", "0001_initial"), ("shop", "0002_append_only")]
    operations = [
        migrations.RunSQL(
            """
            INSERT INTO balance_account (id, kind) OVERRIDING SYSTEM VALUE
                VALUES (1, 'house_cash'), (2, 'house_revenue');
            SELECT setval(pg_get_serial_sequence('balance_account', 'id'), 2);
            """,
            "DELETE FROM balance_account WHERE id IN (1, 2)",
        ),
        migrations.RunSQL(
            """
            CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE ON balance_transfer
                FOR EACH ROW EXECUTE FUNCTION shop_refuse_change();
            """,
            "DROP TRIGGER transfer_append_only ON balance_transfer",
        ),
    ]
