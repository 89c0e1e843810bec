from django.db import migrations


class Migration(migrations.Migration):
    """Half of each page stays free: a page is tidied at each visit, and that costs by the row (docs/decisions/0018)."""

    dependencies = [
        ('catalog', '0004_movements_by_product'),
    ]

    operations = [
        migrations.RunSQL(
            'ALTER TABLE catalog_stock SET (fillfactor = 50)', 'ALTER TABLE catalog_stock RESET (fillfactor)'
        ),
    ]
