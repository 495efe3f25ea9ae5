"""Fails half-way."""

from alembic import op

revision = "broken"
down_revision = "tenant_support_001"


def upgrade():
    op.execute("CREATE TABLE half (id bigint)")
    op.execute("ALTER TABLE nowhere ADD COLUMN a text")


def downgrade():
    pass
