"""ClickHouse holds the archive of all messages. Its address is
http[s]://user:password@host:port."""
