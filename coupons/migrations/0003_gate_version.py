"""
The sequence of gate versions.

A counter in the campaign's row gave a rebuild that was rolled back the same version as the next edit: its gate, which
stands in Redis all the same, then passed for the newest. A sequence does not go back.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("coupons", "0002_gate_epoch")]
    operations = [
        migrations.RunSQL(
            """
            CREATE SEQUENCE coupons_gate_version AS bigint MINVALUE 1 MAXVALUE 2147483647;
            SELECT setval('coupons_gate_version', (SELECT coalesce(max(gate_version), 0) + 1 FROM coupons_campaign));
            """,
            "DROP SEQUENCE coupons_gate_version",
        )
    ]
