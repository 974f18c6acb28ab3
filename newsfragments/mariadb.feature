Databases on MariaDB and MySQL could be used (``--database mysql://...``), those that
MogileFS made included.
