"""A second head."""

from alembic import op

revision = "other_branch"
down_revision = "base_users"


def upgrade():
    op.execute("ALTER TABLE users ADD COLUMN other text")


def downgrade():
    op.execute("ALTER TABLE users DROP COLUMN other")
