"""
The sequence that numbers the gate's epochs, one per gate that is built.

Issuances named by the gate have ids epoch * 2^32 + n; ids below 2^32 come from the table's own sequence. An id is
therefore never used twice, whatever Redis forgets, and stays below 2^53 (exact in JSON) for two million rebuilds.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("coupons", "0001_initial")]
    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE coupons_gate_epoch AS bigint MINVALUE 1 MAXVALUE 2097151",
            "DROP SEQUENCE coupons_gate_epoch",
        )
    ]
