"""Gives users a tenant."""

from alembic import op

revision = "tenant_support_001"
down_revision = "base_users"


def upgrade():
    op.execute("ALTER TABLE users ADD COLUMN tenant_id varchar(255)")


def downgrade():
    op.execute("ALTER TABLE users DROP COLUMN tenant_id")
