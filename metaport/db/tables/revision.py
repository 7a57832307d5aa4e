"""The revision the schema has."""

from sqlalchemy import Column, Table, Text

from metaport.db.tables import metadata

schema_revision = Table(
    "schema_revision",
    metadata,
    # The name is Alembic's.
    Column("version_num", Text, primary_key=True, comment="스키마 개정 / revision of the schema"),
    comment="이 데이터베이스에 적용된 스키마 개정 / the revision of the schema applied here",
)
