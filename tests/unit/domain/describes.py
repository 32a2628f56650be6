# SPDX-License-Identifier: Apache-2.0
"""Texts as ``DESCRIBE SCHEMA WITH INTERNALS`` gives them in Cassandra 4.1 and 5.0."""

from __future__ import annotations

ORDERS_ID = "5a1c36ec-f31d-3123-8d1b-41e1c4b4d7f0"
VIEW_ID = "6b0d0f10-8a2c-11ef-9c5d-3f7a11c0b001"
CUSTOMERS_ID = "7f9e2e5f-0000-11ef-b0de-5d0c2a7aa0c9"

KEYSPACE = (
    "CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'}  "
    "AND durable_writes = true;"
)

OPTIONS_41 = """additional_write_policy = '99p'
    AND bloom_filter_fp_chance = 0.01
    AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}
    AND cdc = false
    AND comment = 'orders; of shop.orders, the "shop" isn''t closed -- /* '
    AND compaction = {'class': 'org.apache.cassandra.db.compaction.LeveledCompactionStrategy'}
    AND compression = {'class': 'org.apache.cassandra.io.compress.LZ4Compressor'}
    AND memtable = 'default'
    AND crc_check_chance = 1.0E-4
    AND default_time_to_live = 0
    AND extensions = {'ID = x AND': 0x6b73}
    AND gc_grace_seconds = 864000
    AND read_repair = 'BLOCKING'
    AND speculative_retry = '99p';"""
OPTIONS_50 = OPTIONS_41.replace(
    "    AND bloom_filter", "    AND allow_auto_snapshot = true\n    AND bloom_filter"
)

TYPES = """CREATE TYPE shop."Address" (
    street text,
    "order" int,
    lines frozen<list<frozen<line>>>
);

CREATE TYPE shop.line (
    shop text,
    value varint
);

CREATE TYPE shop.unused (
    a int
);"""

FUNCTIONS = """CREATE FUNCTION shop.plus(state int, a frozen<line>)
    CALLED ON NULL INPUT
    RETURNS int
    LANGUAGE java
    AS $$
        // shop.plus; it's "open

        return shop.total(state) + a;
    $$;

CREATE FUNCTION shop.plus(state bigint)
    RETURNS NULL ON NULL INPUT
    RETURNS bigint
    LANGUAGE java
    AS $$return state;$$;

CREATE AGGREGATE shop.total(frozen<line>)
    SFUNC plus
    STYPE int
    INITCOND 0;"""

# What was dropped is made first and dropped again; ``note`` was added again afterwards.
ORDERS = f"""CREATE TABLE shop.orders (
    id uuid,
    at timestamp,
    line int,
    customer text static,
    address frozen<"Address">,
    "order" map<text, frozen<list<int>>>,
    gone int,
    note text,
    PRIMARY KEY ((id, at), line)
) WITH ID = {ORDERS_ID}
    AND CLUSTERING ORDER BY (line DESC)
    AND {OPTIONS_41}"""
ALTERS = """ALTER TABLE shop.orders DROP gone USING TIMESTAMP 1589286942065000;
ALTER TABLE shop.orders DROP note USING TIMESTAMP 1589286942065001;
ALTER TABLE shop.orders ADD note text;"""
INDEXES = """CREATE INDEX by_customer ON shop.orders (customer);

CREATE CUSTOM INDEX "By_Note" ON shop.orders (note) USING 'sai' \
WITH OPTIONS = {'target': 'shop.orders; x'};"""
VIEW = f"""CREATE MATERIALIZED VIEW shop.orders_by_line AS
    SELECT id, at, line, note
    FROM shop.orders
    WHERE id = {CUSTOMERS_ID} AND at IS NOT NULL AND line IS NOT NULL
    PRIMARY KEY (line, id, at)
 WITH ID = {VIEW_ID}
    AND CLUSTERING ORDER BY (id ASC, at ASC)
    AND comment = 'WITH ID = 1';"""
MASKED = f"""CREATE TABLE shop.customers (
    name text PRIMARY KEY,
    mail text MASKED WITH system.mask_default(),
    card bigint MASKED WITH shop.plus(),
    taste vector<float, 3>
) WITH ID = {CUSTOMERS_ID}
    AND {OPTIONS_50}"""
LEGACY = """/*
Warning: Table shop.legacy omitted because it has constructs not compatible with CQL \
(was created via legacy API).

Approximate structure, for reference:
(this should not be used to reproduce this schema)

CREATE TABLE shop.legacy (
    key blob,
    column1 ascii,
    value blob,
    PRIMARY KEY (key, column1)
) WITH COMPACT STORAGE
    AND ID = 0e2a9c60-8a2c-11ef-9c5d-3f7a11c0b001
    AND CLUSTERING ORDER BY (column1 ASC)
    AND comment = 'it''s old; really';
*/"""


def described(*parts: str) -> str:
    """Join statements as a backup does."""
    return "\n\n".join(parts) + "\n"


CASSANDRA_41 = described(KEYSPACE, TYPES, FUNCTIONS, f"{ORDERS}\n{ALTERS}", INDEXES, VIEW, LEGACY)
CASSANDRA_50 = described(
    KEYSPACE,
    TYPES,
    FUNCTIONS,
    MASKED,
    f"{ORDERS.replace(OPTIONS_41, OPTIONS_50)}\n{ALTERS}",
    INDEXES,
    VIEW,
)
