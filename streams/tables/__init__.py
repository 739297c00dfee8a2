"""The stages' tables in RocksDB, one database for each partition."""
