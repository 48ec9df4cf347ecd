-- A store as version 0.1.0 made it, with one result and a rolled-up minute.
CREATE TABLE stations (
    id            INTEGER PRIMARY KEY,
    site          TEXT NOT NULL,
    station       TEXT NOT NULL,
    rev           INTEGER NOT NULL DEFAULT 0,   -- number of the commit that last changed the row
    last_seen_ns  INTEGER NOT NULL,
    epoch         TEXT NOT NULL DEFAULT '',     -- of the outbox that it uses now
    state         TEXT NOT NULL DEFAULT 'unknown',
    state_ns      INTEGER NOT NULL DEFAULT 0,
    version       TEXT NOT NULL DEFAULT '',
    board         TEXT NOT NULL DEFAULT '',
    backends      TEXT NOT NULL DEFAULT '',     -- really in use, said by birth
    fallback      TEXT NOT NULL DEFAULT '',
    latitude      REAL,
    longitude     REAL,
    backlog       INTEGER,                      -- results that wait in its outbox, said by health
    temperature_c REAL,
    birth         BLOB,
    health        BLOB,
    UNIQUE (site, station)
) STRICT;

CREATE TABLE sources (
    id       INTEGER PRIMARY KEY,
    station  INTEGER NOT NULL REFERENCES stations (id),
    epoch    TEXT NOT NULL,
    stored   INTEGER NOT NULL DEFAULT 0,        -- results ever stored
    ranges   BLOB NOT NULL DEFAULT x'5b5d',     -- what its receipt says, JSON
    UNIQUE (station, epoch)
) STRICT;

-- Rows lie in the order they came, and the key is an index beside them: with 8,000 stations that halves the
-- pages that a commit writes, and what retention deletes lies together.
CREATE TABLE results (
    source      INTEGER NOT NULL REFERENCES sources (id),
    stored_ns   INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    stream      TEXT NOT NULL,
    t_ns        INTEGER NOT NULL,
    observed_ns INTEGER NOT NULL,
    label       TEXT,
    confidence  REAL,
    value       REAL,
    unit        TEXT,
    degraded    INTEGER NOT NULL,
    backlog     INTEGER NOT NULL,
    body        BLOB NOT NULL,
    UNIQUE (source, seq)
) STRICT;

-- Covers the charts: they never touch the bodies.
CREATE INDEX results_in_time ON results (source, stream, t_ns, label, confidence, value, seq);

CREATE TABLE latest (
    station     INTEGER NOT NULL REFERENCES stations (id),
    stream      TEXT NOT NULL,
    source      INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    t_ns        INTEGER NOT NULL,
    label       TEXT,
    confidence  REAL,
    value       REAL,
    unit        TEXT,
    degraded    INTEGER NOT NULL,
    PRIMARY KEY (station, stream)
) STRICT, WITHOUT ROWID;

CREATE TABLE health (
    station       INTEGER NOT NULL REFERENCES stations (id),
    t_ns          INTEGER NOT NULL,
    backlog       INTEGER NOT NULL,
    outbox_bytes  INTEGER NOT NULL,
    temperature_c REAL,
    rss_bytes     INTEGER,
    PRIMARY KEY (station, t_ns)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id        INTEGER PRIMARY KEY,
    station   INTEGER NOT NULL REFERENCES stations (id),
    severity  TEXT NOT NULL,
    t_ns      INTEGER NOT NULL,
    stored_ns INTEGER NOT NULL,
    name      TEXT NOT NULL,
    message   TEXT NOT NULL,
    detail    BLOB NOT NULL,
    UNIQUE (station, t_ns, severity, name, message)
) STRICT;

CREATE TABLE quarantine (
    id       INTEGER PRIMARY KEY,
    reason   TEXT NOT NULL,
    topic    TEXT NOT NULL,
    count    INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns  INTEGER NOT NULL,
    head     BLOB NOT NULL,                     -- first bytes of the last payload
    message  TEXT NOT NULL,
    UNIQUE (reason, topic)
) STRICT;
CREATE INDEX quarantine_in_time ON quarantine (last_ns);

CREATE TABLE counters (name TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- What retention leaves of raw results: an old result is in exactly one of results, minutes, hours.
CREATE TABLE minutes (
    source     INTEGER NOT NULL REFERENCES sources (id),
    stream     TEXT NOT NULL,
    t_ns       INTEGER NOT NULL,
    label      TEXT NOT NULL,                   -- '' = none
    count      INTEGER NOT NULL,
    confidence REAL,
    value      REAL,
    low        REAL,
    high       REAL,
    PRIMARY KEY (source, stream, t_ns, label)
) STRICT, WITHOUT ROWID;
CREATE TABLE hours (
    source     INTEGER NOT NULL REFERENCES sources (id),
    stream     TEXT NOT NULL,
    t_ns       INTEGER NOT NULL,
    label      TEXT NOT NULL,
    count      INTEGER NOT NULL,
    confidence REAL,
    value      REAL,
    low        REAL,
    high       REAL,
    PRIMARY KEY (source, stream, t_ns, label)
) STRICT, WITHOUT ROWID;
-- Numbers up to here were deleted by retention: a resend of one is a duplicate still.
ALTER TABLE sources ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
PRAGMA application_id = 1162102597;
PRAGMA user_version = 2;
INSERT INTO stations (id, site, station, last_seen_ns) VALUES (1, 'north', 'gate-1', 0);
INSERT INTO sources (id, station, epoch, stored, ranges, pruned) VALUES (1, 1, '9f3c00000000aa01', 7, x'5b5b312c375d5d', 6);
INSERT INTO results VALUES (1, 0, 7, 'activity', 1000000000000000, 0, 'walk', 0.9, NULL, NULL, 0, 0, x'7b7d');
INSERT INTO minutes VALUES (1, 'activity', 900000000000000, 'walk', 6, 0.9, NULL, NULL, NULL);
