DROP TRIGGER alertrule_is_append_only ON alerts_alertrule;
DROP TRIGGER alertnote_is_append_only ON alerts_alertnote;
DROP TRIGGER alert_is_never_deleted ON alerts_alert;
DROP TRIGGER alert_keeps_what_was_found ON alerts_alert;
