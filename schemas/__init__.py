"""The formats of everything that leaves a process: socket frames, Kafka records, ClickHouse rows.

This package imports no other package of this repository.
"""
