"""Databases: one text of SQL, one provider per engine."""
