"""The trigger that refuses to change or delete a stock movement."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial"), ("shop", "0002_append_only")]
    operations = [
        migrations.RunSQL(
            """
            CREATE TRIGGER movement_append_only BEFORE UPDATE OR DELETE ON catalog_stockmovement
                FOR EACH ROW EXECUTE FUNCTION shop_refuse_change();
            """,
            "DROP TRIGGER movement_append_only ON catalog_stockmovement",
        )
    ]
