WITH "logged" AS (
  SELECT
    CAST(FLOOR(
      CAST(CASE
        WHEN "At" >= CAST('0001-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
        AND "At" < CAST('9999-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
        THEN EPOCH_US("At")
      END AS DOUBLE) / CAST('3600000000.0' AS DOUBLE)
    ) AS BIGINT) AS "hour",
    CASE
      WHEN "At" >= CAST('0001-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
      AND "At" < CAST('9999-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
      THEN EPOCH_US("At")
    END AS "moment",
    COALESCE(CAST("Version" AS TEXT), 'unversioned') AS "version",
    "Id" AS "id"
  FROM "of them"."Served; DROP"
  WHERE
    (
      (
        "tenant" = 'O''Hara\' AND "live" = TRUE
      )
      AND "At" >= CAST('2026-11-20 00:00:00+00:00' AS TIMESTAMPTZ)
      AND "At" < CAST('2026-11-20 02:00:00+00:00' AS TIMESTAMPTZ)
    )
    AND NOT "Id" IS NULL
)
SELECT
  "hour",
  COUNT(*),
  COUNT(DISTINCT "id")
FROM "logged"
GROUP BY
  "hour";

WITH "once" AS (
  SELECT
    CAST(FLOOR(
      CAST(CASE
        WHEN "At" >= CAST('0001-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
        AND "At" < CAST('9999-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
        THEN EPOCH_US("At")
      END AS DOUBLE) / CAST('3600000000.0' AS DOUBLE)
    ) AS BIGINT) AS "hour",
    CASE
      WHEN "At" >= CAST('0001-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
      AND "At" < CAST('9999-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
      THEN EPOCH_US("At")
    END AS "moment",
    COALESCE(CAST("Version" AS TEXT), 'unversioned') AS "version"
  FROM "of them"."Served; DROP"
  WHERE
    (
      (
        "tenant" = 'O''Hara\' AND "live" = TRUE
      )
      AND "At" >= CAST('2026-11-20 00:00:00+00:00' AS TIMESTAMPTZ)
      AND "At" < CAST('2026-11-20 02:00:00+00:00' AS TIMESTAMPTZ)
    )
    AND NOT "Id" IS NULL
)
SELECT
  "hour",
  "version",
  COUNT(*)
FROM "once"
GROUP BY
  "hour",
  "version";

WITH "once" AS (
  SELECT
    CAST(FLOOR(
      CAST(CASE
        WHEN "At" >= CAST('0001-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
        AND "At" < CAST('9999-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
        THEN EPOCH_US("At")
      END AS DOUBLE) / CAST('3600000000.0' AS DOUBLE)
    ) AS BIGINT) AS "hour",
    CASE
      WHEN "At" >= CAST('0001-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
      AND "At" < CAST('9999-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
      THEN EPOCH_US("At")
    END AS "moment",
    COALESCE(CAST("Version" AS TEXT), 'unversioned') AS "version",
    "Said" AS "c0",
    "Plan" AS "c1",
    "Since" AS "c2",
    CASE
      WHEN "Since" >= CAST('0001-01-02 00:00:00' AS TIMESTAMP)
      AND "Since" < CAST('9999-01-02 00:00:00' AS TIMESTAMP)
      THEN EPOCH_US("Since")
    END AS "t2"
  FROM "of them"."Served; DROP"
  WHERE
    (
      (
        "tenant" = 'O''Hara\' AND "live" = TRUE
      )
      AND "At" >= CAST('2026-11-20 00:00:00+00:00' AS TIMESTAMPTZ)
      AND "At" < CAST('2026-11-20 02:00:00+00:00' AS TIMESTAMPTZ)
    )
    AND NOT "Id" IS NULL
), "placed" AS (
  SELECT
    *
  FROM "once"
  WHERE
    "version" = '3'
), "valued" AS (
  SELECT
    "hour",
    CASE WHEN "c1" IN ('basic') THEN 1 WHEN "c1" IN ('pro') THEN 2 ELSE 3 END AS "s0"
  FROM "placed"
)
SELECT
  "hour",
  0 AS "segment",
  COUNT(*)
FROM "valued"
GROUP BY
  "hour"
UNION ALL
SELECT
  "hour",
  "s0" AS "segment",
  COUNT(*)
FROM "valued"
GROUP BY
  "hour",
  "s0";

WITH "once" AS (
  SELECT
    CAST(FLOOR(
      CAST(CASE
        WHEN "At" >= CAST('0001-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
        AND "At" < CAST('9999-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
        THEN EPOCH_US("At")
      END AS DOUBLE) / CAST('3600000000.0' AS DOUBLE)
    ) AS BIGINT) AS "hour",
    CASE
      WHEN "At" >= CAST('0001-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
      AND "At" < CAST('9999-01-02 00:00:00+00:00' AS TIMESTAMPTZ)
      THEN EPOCH_US("At")
    END AS "moment",
    COALESCE(CAST("Version" AS TEXT), 'unversioned') AS "version",
    "Said" AS "c0",
    "Plan" AS "c1",
    "Since" AS "c2",
    CASE
      WHEN "Since" >= CAST('0001-01-02 00:00:00' AS TIMESTAMP)
      AND "Since" < CAST('9999-01-02 00:00:00' AS TIMESTAMP)
      THEN EPOCH_US("Since")
    END AS "t2"
  FROM "of them"."Served; DROP"
  WHERE
    (
      (
        "tenant" = 'O''Hara\' AND "live" = TRUE
      )
      AND "At" >= CAST('2026-11-20 00:00:00+00:00' AS TIMESTAMPTZ)
      AND "At" < CAST('2026-11-20 02:00:00+00:00' AS TIMESTAMPTZ)
    )
    AND NOT "Id" IS NULL
), "placed" AS (
  SELECT
    *
  FROM "once"
  WHERE
    "version" = '3'
), "valued" AS (
  SELECT
    "hour",
    CASE WHEN "c1" IN ('basic') THEN 1 WHEN "c1" IN ('pro') THEN 2 ELSE 3 END AS "s0",
    CASE
      WHEN REGEXP_MATCHES(
        TRIM("c0"),
        '^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$'
      )
      THEN TRY_CAST(TRIM("c0") AS DOUBLE)
    END AS "x0",
    CASE WHEN NOT "c0" IS NULL THEN 1 END AS "g0",
    "c1" AS "x1",
    CAST((
      (
        "t2" % 86400000000
      ) + 86400000000
    ) % 86400000000 AS DOUBLE) / CAST('3600000000.0' AS DOUBLE) AS "x2",
    CASE WHEN NOT "c2" IS NULL AND "t2" IS NULL THEN 1 END AS "g2"
  FROM "placed"
), "binned" AS MATERIALIZED (
  SELECT
    *,
    CASE
      WHEN "x0" < CAST('-1e+140' AS DOUBLE) OR -"x0" < CAST('-1e+140' AS DOUBLE)
      THEN -1
      WHEN "x0" <= CAST('1e+140' AS DOUBLE)
      THEN CASE
        WHEN "x0" <= CAST('0.0' AS DOUBLE)
        THEN CASE
          WHEN "x0" <= CAST('-1.5' AS DOUBLE)
          THEN CASE WHEN "x0" < CAST('-1.5' AS DOUBLE) THEN 0 ELSE 1 END
          ELSE CASE WHEN "x0" < CAST('0.0' AS DOUBLE) THEN 2 ELSE 3 END
        END
        ELSE CASE
          WHEN "x0" <= CAST('2.25' AS DOUBLE)
          THEN CASE WHEN "x0" < CAST('2.25' AS DOUBLE) THEN 4 ELSE 5 END
          ELSE 6
        END
      END
      WHEN "g0" = 1
      THEN -1
      ELSE -2
    END AS "b0",
    CASE
      WHEN "x2" < CAST('-1e+140' AS DOUBLE) OR -"x2" < CAST('-1e+140' AS DOUBLE)
      THEN -1
      WHEN "x2" <= CAST('1e+140' AS DOUBLE)
      THEN CASE
        WHEN "x2" <= CAST('0.0' AS DOUBLE)
        THEN CASE
          WHEN "x2" <= CAST('-1.5' AS DOUBLE)
          THEN CASE WHEN "x2" < CAST('-1.5' AS DOUBLE) THEN 0 ELSE 1 END
          ELSE CASE WHEN "x2" < CAST('0.0' AS DOUBLE) THEN 2 ELSE 3 END
        END
        ELSE CASE
          WHEN "x2" <= CAST('2.25' AS DOUBLE)
          THEN CASE WHEN "x2" < CAST('2.25' AS DOUBLE) THEN 4 ELSE 5 END
          ELSE 6
        END
      END
      WHEN "g2" = 1
      THEN -1
      ELSE -2
    END AS "b2"
  FROM "valued"
)
SELECT
  0 AS "item",
  "hour",
  "segment",
  "bin",
  CAST(NULL AS TEXT),
  COUNT(*),
  SUM((
    "x" - CAST('0.25' AS DOUBLE)
  )),
  SUM(
    CASE
      WHEN (
        "x" - CAST('0.25' AS DOUBLE)
      ) < CAST('1e-140' AS DOUBLE)
      AND -(
        "x" - CAST('0.25' AS DOUBLE)
      ) < CAST('1e-140' AS DOUBLE)
      THEN CAST('0.0' AS DOUBLE)
      ELSE (
        "x" - CAST('0.25' AS DOUBLE)
      ) * (
        "x" - CAST('0.25' AS DOUBLE)
      )
    END
  ),
  MIN("x"),
  MAX("x")
FROM (
  SELECT
    "hour" AS "hour",
    0 AS "segment",
    "b0" AS "bin",
    CASE WHEN "b0" >= 0 THEN "x0" END AS "x"
  FROM "binned"
) AS each
GROUP BY
  "hour",
  "segment",
  "bin"
UNION ALL
SELECT
  0 AS "item",
  "hour",
  "segment",
  "bin",
  CAST(NULL AS TEXT),
  COUNT(*),
  SUM((
    "x" - CAST('0.25' AS DOUBLE)
  )),
  SUM(
    CASE
      WHEN (
        "x" - CAST('0.25' AS DOUBLE)
      ) < CAST('1e-140' AS DOUBLE)
      AND -(
        "x" - CAST('0.25' AS DOUBLE)
      ) < CAST('1e-140' AS DOUBLE)
      THEN CAST('0.0' AS DOUBLE)
      ELSE (
        "x" - CAST('0.25' AS DOUBLE)
      ) * (
        "x" - CAST('0.25' AS DOUBLE)
      )
    END
  ),
  MIN("x"),
  MAX("x")
FROM (
  SELECT
    "hour" AS "hour",
    "s0" AS "segment",
    "b0" AS "bin",
    CASE WHEN "b0" >= 0 THEN "x0" END AS "x"
  FROM "binned"
) AS each
GROUP BY
  "hour",
  "segment",
  "bin"
UNION ALL
SELECT
  1 AS "item",
  "hour",
  "segment",
  "bin",
  "name",
  CAST(SUM("rows") AS BIGINT),
  CAST(NULL AS DOUBLE),
  CAST(NULL AS DOUBLE),
  CAST(NULL AS DOUBLE),
  CAST(NULL AS DOUBLE)
FROM (
  SELECT
    "hour",
    "segment",
    "rows",
    CASE WHEN "known" = 1 OR "place" <= 10000 THEN 0 ELSE 1 END AS "bin",
    CASE WHEN "known" = 1 OR "place" <= 10000 THEN "name" END AS "name"
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (PARTITION BY "hour", "segment", "known" ORDER BY "rows" DESC, "name" ASC) AS "place"
    FROM (
      SELECT
        *,
        CASE WHEN "name" IS NULL OR "name" IN ('basic', 'pro') THEN 1 ELSE 0 END AS "known"
      FROM (
        SELECT
          "hour",
          "segment",
          "name",
          COUNT(*) AS "rows"
        FROM (
          SELECT
            "hour" AS "hour",
            0 AS "segment",
            "x1" AS "name"
          FROM "binned"
        ) AS each
        GROUP BY
          "hour",
          "segment",
          "name"
      ) AS counted
    ) AS flagged
  ) AS ranked
) AS chosen
GROUP BY
  "hour",
  "segment",
  "bin",
  "name"
UNION ALL
SELECT
  1 AS "item",
  "hour",
  "segment",
  "bin",
  "name",
  CAST(SUM("rows") AS BIGINT),
  CAST(NULL AS DOUBLE),
  CAST(NULL AS DOUBLE),
  CAST(NULL AS DOUBLE),
  CAST(NULL AS DOUBLE)
FROM (
  SELECT
    "hour",
    "segment",
    "rows",
    CASE WHEN "known" = 1 OR "place" <= 10000 THEN 0 ELSE 1 END AS "bin",
    CASE WHEN "known" = 1 OR "place" <= 10000 THEN "name" END AS "name"
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (PARTITION BY "hour", "segment", "known" ORDER BY "rows" DESC, "name" ASC) AS "place"
    FROM (
      SELECT
        *,
        CASE WHEN "name" IS NULL OR "name" IN ('basic', 'pro') THEN 1 ELSE 0 END AS "known"
      FROM (
        SELECT
          "hour",
          "segment",
          "name",
          COUNT(*) AS "rows"
        FROM (
          SELECT
            "hour" AS "hour",
            "s0" AS "segment",
            "x1" AS "name"
          FROM "binned"
        ) AS each
        GROUP BY
          "hour",
          "segment",
          "name"
      ) AS counted
    ) AS flagged
  ) AS ranked
) AS chosen
GROUP BY
  "hour",
  "segment",
  "bin",
  "name"
UNION ALL
SELECT
  2 AS "item",
  "hour",
  "segment",
  "bin",
  CAST(NULL AS TEXT),
  COUNT(*),
  SUM((
    "x" - CAST('0.25' AS DOUBLE)
  )),
  SUM(
    CASE
      WHEN (
        "x" - CAST('0.25' AS DOUBLE)
      ) < CAST('1e-140' AS DOUBLE)
      AND -(
        "x" - CAST('0.25' AS DOUBLE)
      ) < CAST('1e-140' AS DOUBLE)
      THEN CAST('0.0' AS DOUBLE)
      ELSE (
        "x" - CAST('0.25' AS DOUBLE)
      ) * (
        "x" - CAST('0.25' AS DOUBLE)
      )
    END
  ),
  MIN("x"),
  MAX("x")
FROM (
  SELECT
    "hour" AS "hour",
    0 AS "segment",
    "b2" AS "bin",
    CASE WHEN "b2" >= 0 THEN "x2" END AS "x"
  FROM "binned"
) AS each
GROUP BY
  "hour",
  "segment",
  "bin"
UNION ALL
SELECT
  2 AS "item",
  "hour",
  "segment",
  "bin",
  CAST(NULL AS TEXT),
  COUNT(*),
  SUM((
    "x" - CAST('0.25' AS DOUBLE)
  )),
  SUM(
    CASE
      WHEN (
        "x" - CAST('0.25' AS DOUBLE)
      ) < CAST('1e-140' AS DOUBLE)
      AND -(
        "x" - CAST('0.25' AS DOUBLE)
      ) < CAST('1e-140' AS DOUBLE)
      THEN CAST('0.0' AS DOUBLE)
      ELSE (
        "x" - CAST('0.25' AS DOUBLE)
      ) * (
        "x" - CAST('0.25' AS DOUBLE)
      )
    END
  ),
  MIN("x"),
  MAX("x")
FROM (
  SELECT
    "hour" AS "hour",
    "s0" AS "segment",
    "b2" AS "bin",
    CASE WHEN "b2" >= 0 THEN "x2" END AS "x"
  FROM "binned"
) AS each
GROUP BY
  "hour",
  "segment",
  "bin";

SELECT
  1
WHERE
  "Id" IS NULL
  OR (
    CAST("Amount" AS DOUBLE) < CAST('-1e+140' AS DOUBLE)
    OR CAST("Amount" AS DOUBLE) > CAST('1e+140' AS DOUBLE)
  )
  OR LENGTH("Said") > 1000
  OR (
    CASE
      WHEN REGEXP_MATCHES(
        TRIM("Said"),
        '^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$'
      )
      THEN TRY_CAST(TRIM("Said") AS DOUBLE)
    END < CAST('-1e+140' AS DOUBLE)
    OR CASE
      WHEN REGEXP_MATCHES(
        TRIM("Said"),
        '^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$'
      )
      THEN TRY_CAST(TRIM("Said") AS DOUBLE)
    END > CAST('1e+140' AS DOUBLE)
  )
  OR (
    NOT "Said" IS NULL
    AND CASE
      WHEN REGEXP_MATCHES(
        TRIM("Said"),
        '^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$'
      )
      THEN TRY_CAST(TRIM("Said") AS DOUBLE)
    END IS NULL
  )
  OR (
    NOT "Since" IS NULL
    AND CASE
      WHEN "Since" >= CAST('0001-01-02 00:00:00' AS TIMESTAMP)
      AND "Since" < CAST('9999-01-02 00:00:00' AS TIMESTAMP)
      THEN EPOCH_US("Since")
    END IS NULL
  );
