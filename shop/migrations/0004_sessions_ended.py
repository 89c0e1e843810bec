"""When a user's sessions ended, and the trigger that ends them with the password, the account or the staff rights."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0003_stage_run_owner")]
    operations = [
        migrations.AddField(
            model_name="user",
            name="sessions_ended_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="sessions ended at"),
        ),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(
                models.F("sessions_ended_at"),
                condition=models.Q(("sessions_ended_at__isnull", False)),
                name="user_sessions_ended",
            ),
        ),
        migrations.RunSQL(
            """
            CREATE FUNCTION shop_end_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.password IS DISTINCT FROM OLD.password
                   OR (OLD.is_active AND NOT NEW.is_active) OR (OLD.is_staff AND NOT NEW.is_staff) THEN
                    NEW.token_generation := OLD.token_generation + 1;
                ELSE  -- a row saved whole from an old copy must not bring ended sessions back
                    NEW.token_generation := GREATEST(NEW.token_generation, OLD.token_generation);
                END IF;
                NEW.sessions_ended_at := CASE WHEN NEW.token_generation > OLD.token_generation
                                              THEN clock_timestamp() ELSE OLD.sessions_ended_at END;
                RETURN NEW;
            END $$;
            CREATE TRIGGER user_end_sessions BEFORE UPDATE ON shop_user
                FOR EACH ROW EXECUTE FUNCTION shop_end_sessions();
            """,
            "DROP TRIGGER user_end_sessions ON shop_user; DROP FUNCTION shop_end_sessions()",
        ),
    ]
