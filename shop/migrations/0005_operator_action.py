"""The trail of what operators did, and the trigger that refuses to change it."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shop', '0004_sessions_ended'),
    ]

    operations = [
        migrations.CreateModel(
            name='OperatorAction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('operator_id', models.BigIntegerField(verbose_name='operator id')),
                ('operator_name', models.CharField(max_length=150, verbose_name='operator')),
                ('action', models.CharField(max_length=64, verbose_name='action')),
                ('object_type', models.CharField(max_length=64, verbose_name='kind of object')),
                ('object_id', models.BigIntegerField(verbose_name='object id')),
                ('amount', models.BigIntegerField(null=True, verbose_name='amount')),
                ('reason', models.CharField(max_length=200, verbose_name='reason')),
                ('details', models.JSONField(default=dict, verbose_name='details')),
                ('created_at', models.DateTimeField(verbose_name='created at')),
            ],
            options={
                'verbose_name': 'operator action',
                'verbose_name_plural': 'operator actions',
                'indexes': [models.Index(models.F('operator_id'), models.F('id'), name='operator_action_operator'), models.Index(models.F('object_type'), models.F('object_id'), name='operator_action_object')],
                'constraints': [models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='operator_action_has_reason')],
            },
        ),
        migrations.RunSQL(
            """
            CREATE TRIGGER operator_action_append_only BEFORE UPDATE OR DELETE ON shop_operatoraction
                FOR EACH ROW EXECUTE FUNCTION shop_refuse_change();
            """,
            "DROP TRIGGER operator_action_append_only ON shop_operatoraction",
        ),
    ]
