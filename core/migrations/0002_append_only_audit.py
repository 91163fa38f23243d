"""Audit events can only be added; throttle counts are not worth a disk flush; keys are updated once, in place."""

from django.db import migrations

APPEND_ONLY = """
-- Shared by every append-only table: raises on whatever it is attached to. Only a superuser who sets
-- session_replication_role can get past it, and the running desk is not one.
CREATE FUNCTION desk_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
$$;
CREATE TRIGGER auditevent_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON core_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER auditevent_is_append_only ON core_auditevent; DROP FUNCTION desk_refuse_change();",
        ),
        migrations.RunSQL("ALTER TABLE core_throttlewindow SET UNLOGGED", "ALTER TABLE core_throttlewindow SET LOGGED"),
        migrations.RunSQL(
            "ALTER TABLE core_idempotencykey SET (fillfactor = 60)",
            "ALTER TABLE core_idempotencykey RESET (fillfactor)",
        ),
    ]
