from django.db import migrations


class Migration(migrations.Migration):
    """Half of each page stays free: a page is tidied at each visit, and that costs by the row (docs/decisions/0018)."""

    dependencies = [
        ('catalog', '0004_movements_by_product'),
    ]

    operations = [
        migrations.RunSQL(
            f'ALTER TABLE {table} SET (fillfactor = 50)', f'ALTER TABLE {table} RESET (fillfactor)'
        )
        for table in ('catalog_stock', 'catalog_dailysales')
    ]
