"""ClickHouse: the archive of all messages. Only its address is known here,
http://user:password@host:port."""
