# Writes vectors.json: messages of Avro as fastavro makes them, for the tests beside this file.
#
#   "$(tests/services/spark.sh)" crates/connect/src/codecs/avro/vectors.py
#
# Each has a schema, its fingerprint, the body of a record in hex, and the rows that are expected.

import io, json, pathlib
from datetime import date, datetime, timezone
from decimal import Decimal

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

TRADE = {
    "type": "record", "name": "Trade", "namespace": "com.example", "doc": "of an exchange",
    "fields": [
        {"name": "symbol", "type": "string"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}},
        {"name": "volume", "type": ["null", "double"], "default": None},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
# As TRADE, with a field more and another order.
TRADE_LATER = {
    "type": "record", "name": "com.example.Trade", "aliases": ["Deal"],
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "symbol", "type": {"type": "string"}},
        {"name": "price", "type": "double", "order": "ignore"},
        {"name": "venue", "type": {"type": "enum", "name": "Venue", "symbols": ["NYSE", "LSE"]}},
    ],
}
NESTED = {
    "type": "record", "name": "Reading", "namespace": "a.b",
    "fields": [
        {"name": "meter", "type": {"type": "record", "name": "Meter", "fields": [
            {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 4}},
            {"name": "on", "type": "boolean"},
        ]}},
        {"name": "before", "type": ["null", "Meter"]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "values", "type": {"type": "array", "items": ["null", "float"]}},
        {"name": "tags", "type": {"type": "map", "values": "long"}},
        {"name": "note", "type": ["string", "null"]},
    ],
}

WRITTEN = [
    (TRADE, {"symbol": "AAPL", "price": Decimal("187.4400"), "volume": 100.5,
             "ts": datetime(2024, 1, 5, 14, 30, 0, 123000, timezone.utc)},
     "symbol=AAPL price=187.4400 volume=100.5 ts=2024-01-05T14:30:00.123Z"),
    (TRADE, {"symbol": "Größe", "price": Decimal("-0.0001"), "volume": None,
             "ts": datetime(1969, 12, 31, 23, 59, 59, 999000, timezone.utc)},
     "symbol=Größe price=-0.0001 volume=null ts=1969-12-31T23:59:59.999Z"),
    (TRADE_LATER, {"ts": datetime(2024, 1, 5, 14, 30, 0, 123456, timezone.utc), "symbol": "VOD",
                   "price": 70.25, "venue": "LSE"},
     "symbol=VOD price=70.2500 volume=null ts=2024-01-05T14:30:00.123456Z"),
    (NESTED, {"meter": {"id": b"\x00\x01\x02\xff", "on": True}, "before": None,
              "day": date(2024, 2, 29), "values": [1.5, None, -2.0], "tags": {"n": -1},
              "note": "ok"},
     "id=000102ff on=true before=null day=2024-02-29 values=[1.5,null,-2.0] tags={\"n\":-1} note=ok"),
    (NESTED, {"meter": {"id": b"abcd", "on": False}, "before": {"id": b"efgh", "on": True},
              "day": date(1969, 12, 31), "values": [], "tags": {}, "note": None},
     "id=61626364 on=false before={\"id\":\"65666768\",\"on\":true} day=1969-12-31 values=[] tags={} note=null"),
]

vectors = []
for schema, record, row in WRITTEN:
    # A copy: fastavro writes into what it is given.
    text = json.dumps(schema, ensure_ascii=False)
    parsed = fastavro.parse_schema(json.loads(text))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parsed, record)
    canonical = to_parsing_canonical_form(json.loads(text))
    vectors.append({
        "schema": schema, "fingerprint": fingerprint(canonical, "CRC-64-AVRO"),
        "body": body.getvalue().hex(), "row": row,
    })
text = json.dumps(vectors, ensure_ascii=False, indent=1) + "\n"
pathlib.Path(__file__).with_name("vectors.json").write_text(text)
