from django.db import migrations


class Migration(migrations.Migration):
    """Half of each page stays free: a page is tidied at each visit, and that costs by the row (docs/decisions/0018)."""

    dependencies = [
        ('balance', '0002_ledger'),
    ]

    operations = [
        migrations.RunSQL(
            'ALTER TABLE balance_wallet SET (fillfactor = 50)', 'ALTER TABLE balance_wallet RESET (fillfactor)'
        ),
    ]
