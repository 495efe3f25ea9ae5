-- The way back to the database without tenants. It exists as long as all rows
-- belong to 'default': without the column, the rows of several tenants would
-- be mixed for good. Roll the backend back first, the new one needs the column.
-- What is lost: memberships. They repeat users.role unless changed since.
SELECT set_config('lock_timeout', '2s', true) WHERE current_setting('lock_timeout') = '0';

-- Nobody may add a row of another tenant between the check and the end.
LOCK TABLE
    tenant_memberships, credential_audit_logs, server_credentials, ssh_keys,
    server_snapshots, server_profiles, certificates, step_ca_config, notification_logs,
    alerts, alert_channels, threshold_rules, reports, plugin_api_keys, plugin_executions,
    plugin_metrics, plugins, resource_reconciliations, kubernetes_resources,
    deployment_intents, kubernetes_clusters, application_blueprints, push_subscriptions,
    knowledge, users, settings
IN ACCESS EXCLUSIVE MODE;

DO $$
DECLARE
    scoped regclass;
    others bigint;
BEGIN
    FOR scoped IN
        SELECT attrelid::regclass FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid AND relkind = 'r' AND relnamespace = current_schema()::regnamespace
        WHERE attname = 'tenant_id' AND NOT attisdropped
        ORDER BY attrelid::regclass::text
    LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id <> ''default''', scoped) INTO others;
        IF others > 0 THEN
            RAISE EXCEPTION 'table % has % rows of tenants other than default', scoped, others
                USING HINT = 'Move or delete them first. Without tenant_id they could not be told apart.';
        END IF;
    END LOOP;
END
$$;

DROP TABLE tenant_memberships;

-- The indexes go with their columns.
ALTER TABLE credential_audit_logs DROP COLUMN tenant_id;
ALTER TABLE server_credentials DROP COLUMN tenant_id;
ALTER TABLE ssh_keys DROP COLUMN tenant_id;
ALTER TABLE server_snapshots DROP COLUMN tenant_id;
ALTER TABLE server_profiles DROP COLUMN tenant_id;
ALTER TABLE certificates DROP COLUMN tenant_id;
ALTER TABLE step_ca_config DROP COLUMN tenant_id;
ALTER TABLE notification_logs DROP COLUMN tenant_id;
ALTER TABLE alerts DROP COLUMN tenant_id;
ALTER TABLE alert_channels DROP COLUMN tenant_id;
ALTER TABLE threshold_rules DROP COLUMN tenant_id;
ALTER TABLE reports DROP COLUMN tenant_id;
ALTER TABLE plugin_api_keys DROP COLUMN tenant_id;
ALTER TABLE plugin_executions DROP COLUMN tenant_id;
ALTER TABLE plugin_metrics DROP COLUMN tenant_id;
ALTER TABLE plugins DROP COLUMN tenant_id;
ALTER TABLE resource_reconciliations DROP COLUMN tenant_id;
ALTER TABLE kubernetes_resources DROP COLUMN tenant_id;
ALTER TABLE deployment_intents DROP COLUMN tenant_id;
ALTER TABLE kubernetes_clusters DROP COLUMN tenant_id;
ALTER TABLE application_blueprints DROP COLUMN tenant_id;
ALTER TABLE push_subscriptions DROP COLUMN tenant_id;
ALTER TABLE knowledge DROP COLUMN tenant_id;
ALTER TABLE users DROP COLUMN tenant_id;
ALTER TABLE settings DROP COLUMN tenant_id;
