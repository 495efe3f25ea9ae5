-- Tenant support: every row belongs to a tenant, and so far to 'default'.
--
-- Columns. A constant default is kept in the catalogue, so no table is
-- rewritten and no row is touched. The default stays: the code of before
-- inserts without a tenant and goes on running during the rollout, and after
-- it if the release is taken back. A later release drops it.
--
-- Indexes. CREATE INDEX CONCURRENTLY has to be alone in its file, which would
-- make 19 files, and leaves an invalid index behind when it fails. These tables
-- hold tens of rows, the whole file takes about 25 ms, and each table is
-- locked by its new column anyway; so the indexes are plain, right after the
-- column, and the file is one transaction: all of it or nothing. Do not copy
-- this to tables of more than about 10,000 rows: there, one table per file and
-- CONCURRENTLY keep the time for which users wait short.
--
-- Locks. A statement that waits for a lock makes everybody else wait behind
-- it, so the wait is bounded: by whoever runs this file or, if they set no
-- bound, here. Children come before their parents because an insert takes
-- its locks in this order too, and equal orders make no deadlock.
SELECT set_config('lock_timeout', '2s', true) WHERE current_setting('lock_timeout') = '0';

-- Servers.

ALTER TABLE credential_audit_logs ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_credential_audit_logs_tenant_id ON credential_audit_logs (tenant_id);
ALTER TABLE server_credentials ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_server_credentials_tenant_id ON server_credentials (tenant_id);
ALTER TABLE ssh_keys ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_ssh_keys_tenant_id ON ssh_keys (tenant_id);
ALTER TABLE server_snapshots ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_server_snapshots_tenant_id ON server_snapshots (tenant_id);
ALTER TABLE server_profiles ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
ALTER TABLE certificates ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_certificates_tenant_id ON certificates (tenant_id);
ALTER TABLE step_ca_config ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_step_ca_config_tenant_id ON step_ca_config (tenant_id);

-- Alerts.

ALTER TABLE notification_logs ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_notification_logs_tenant_id ON notification_logs (tenant_id);
ALTER TABLE alerts ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_alerts_tenant_id ON alerts (tenant_id);
ALTER TABLE alert_channels ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
ALTER TABLE threshold_rules ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
ALTER TABLE reports ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_reports_tenant_id ON reports (tenant_id);

-- Plugins.

ALTER TABLE plugin_api_keys ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_plugin_api_keys_tenant_id ON plugin_api_keys (tenant_id);
ALTER TABLE plugin_executions ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_plugin_executions_tenant_id ON plugin_executions (tenant_id);
ALTER TABLE plugin_metrics ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_plugin_metrics_tenant_id ON plugin_metrics (tenant_id);
ALTER TABLE plugins ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';

-- Kubernetes.

ALTER TABLE resource_reconciliations ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_resource_reconciliations_tenant_id ON resource_reconciliations (tenant_id);
ALTER TABLE kubernetes_resources ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
ALTER TABLE deployment_intents ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_deployment_intents_tenant_id ON deployment_intents (tenant_id);
ALTER TABLE kubernetes_clusters ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
ALTER TABLE application_blueprints ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_application_blueprints_tenant_id ON application_blueprints (tenant_id);

-- People and settings.

ALTER TABLE push_subscriptions ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_push_subscriptions_tenant_id ON push_subscriptions (tenant_id);
ALTER TABLE knowledge ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_knowledge_tenant_id ON knowledge (tenant_id);
ALTER TABLE users ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_users_tenant_id ON users (tenant_id);
ALTER TABLE settings ADD COLUMN tenant_id text NOT NULL DEFAULT 'default';
CREATE INDEX ix_settings_tenant_id ON settings (tenant_id);

-- Who belongs to which tenant. tenant_id refers to no table yet: the ids of the
-- old table tenants are integers, these are names. That table stays as it is
-- until a later migration takes it over step by step.

CREATE TABLE tenant_memberships (
    id         bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    tenant_id  text NOT NULL DEFAULT 'default',
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       text NOT NULL DEFAULT 'member' CHECK (role IN ('admin', 'member', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, tenant_id)
);

INSERT INTO tenant_memberships (user_id, role) SELECT id, role FROM users;
