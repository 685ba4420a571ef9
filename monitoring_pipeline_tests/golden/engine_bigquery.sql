WITH `logged` AS (
  SELECT
    CAST(FLOOR(
      CAST(UNIX_MICROS(CAST(`At` AS TIMESTAMP)) AS FLOAT64) / CAST('3600000000.0' AS FLOAT64)
    ) AS INT64) AS `hour`,
    UNIX_MICROS(CAST(`At` AS TIMESTAMP)) AS `moment`,
    COALESCE(CAST(`Version` AS STRING), 'unversioned') AS `version`,
    `Id` AS `id`
  FROM `of them`.`Served; DROP`
  WHERE
    (
      (
        `tenant` = 'O\'Hara\\' AND `live` = TRUE
      )
      AND `At` >= CAST('2026-11-20 00:00:00+00:00' AS TIMESTAMP)
      AND `At` < CAST('2026-11-20 02:00:00+00:00' AS TIMESTAMP)
    )
    AND NOT `Id` IS NULL
)
SELECT
  `hour`,
  COUNT(*),
  COUNT(DISTINCT `id`)
FROM `logged`
GROUP BY
  `hour`;

WITH `once` AS (
  SELECT
    CAST(FLOOR(
      CAST(UNIX_MICROS(CAST(`At` AS TIMESTAMP)) AS FLOAT64) / CAST('3600000000.0' AS FLOAT64)
    ) AS INT64) AS `hour`,
    UNIX_MICROS(CAST(`At` AS TIMESTAMP)) AS `moment`,
    COALESCE(CAST(`Version` AS STRING), 'unversioned') AS `version`
  FROM `of them`.`Served; DROP`
  WHERE
    (
      (
        `tenant` = 'O\'Hara\\' AND `live` = TRUE
      )
      AND `At` >= CAST('2026-11-20 00:00:00+00:00' AS TIMESTAMP)
      AND `At` < CAST('2026-11-20 02:00:00+00:00' AS TIMESTAMP)
    )
    AND NOT `Id` IS NULL
)
SELECT
  `hour`,
  `version`,
  COUNT(*)
FROM `once`
GROUP BY
  `hour`,
  `version`;

WITH `once` AS (
  SELECT
    CAST(FLOOR(
      CAST(UNIX_MICROS(CAST(`At` AS TIMESTAMP)) AS FLOAT64) / CAST('3600000000.0' AS FLOAT64)
    ) AS INT64) AS `hour`,
    UNIX_MICROS(CAST(`At` AS TIMESTAMP)) AS `moment`,
    COALESCE(CAST(`Version` AS STRING), 'unversioned') AS `version`,
    `Said` AS `c0`,
    `Plan` AS `c1`,
    `Since` AS `c2`,
    UNIX_MICROS(CAST(`Since` AS TIMESTAMP)) AS `t2`
  FROM `of them`.`Served; DROP`
  WHERE
    (
      (
        `tenant` = 'O\'Hara\\' AND `live` = TRUE
      )
      AND `At` >= CAST('2026-11-20 00:00:00+00:00' AS TIMESTAMP)
      AND `At` < CAST('2026-11-20 02:00:00+00:00' AS TIMESTAMP)
    )
    AND NOT `Id` IS NULL
), `placed` AS (
  SELECT
    *
  FROM `once`
  WHERE
    `version` = '3'
), `valued` AS (
  SELECT
    `hour`,
    CASE WHEN `c1` IN ('basic') THEN 1 WHEN `c1` IN ('pro') THEN 2 ELSE 3 END AS `s0`
  FROM `placed`
)
SELECT
  `hour`,
  0 AS `segment`,
  COUNT(*)
FROM `valued`
GROUP BY
  `hour`
UNION ALL
SELECT
  `hour`,
  `s0` AS `segment`,
  COUNT(*)
FROM `valued`
GROUP BY
  `hour`,
  `s0`;

WITH `once` AS (
  SELECT
    CAST(FLOOR(
      CAST(UNIX_MICROS(CAST(`At` AS TIMESTAMP)) AS FLOAT64) / CAST('3600000000.0' AS FLOAT64)
    ) AS INT64) AS `hour`,
    UNIX_MICROS(CAST(`At` AS TIMESTAMP)) AS `moment`,
    COALESCE(CAST(`Version` AS STRING), 'unversioned') AS `version`,
    `Said` AS `c0`,
    `Plan` AS `c1`,
    `Since` AS `c2`,
    UNIX_MICROS(CAST(`Since` AS TIMESTAMP)) AS `t2`
  FROM `of them`.`Served; DROP`
  WHERE
    (
      (
        `tenant` = 'O\'Hara\\' AND `live` = TRUE
      )
      AND `At` >= CAST('2026-11-20 00:00:00+00:00' AS TIMESTAMP)
      AND `At` < CAST('2026-11-20 02:00:00+00:00' AS TIMESTAMP)
    )
    AND NOT `Id` IS NULL
), `placed` AS (
  SELECT
    *
  FROM `once`
  WHERE
    `version` = '3'
), `valued` AS (
  SELECT
    `hour`,
    CASE WHEN `c1` IN ('basic') THEN 1 WHEN `c1` IN ('pro') THEN 2 ELSE 3 END AS `s0`,
    CASE
      WHEN REGEXP_CONTAINS(
        TRIM(`c0`),
        '^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$'
      )
      THEN SAFE_CAST(TRIM(`c0`) AS FLOAT64)
    END AS `x0`,
    CASE WHEN NOT `c0` IS NULL THEN 1 END AS `g0`,
    `c1` AS `x1`,
    CAST(MOD((
      MOD(`t2`, 86400000000)
    ) + 86400000000, 86400000000) AS FLOAT64) / CAST('3600000000.0' AS FLOAT64) AS `x2`,
    CASE WHEN NOT `c2` IS NULL AND `t2` IS NULL THEN 1 END AS `g2`
  FROM `placed`
), `binned` AS (
  SELECT
    *,
    CASE
      WHEN `x0` < CAST('-1e+140' AS FLOAT64) OR -`x0` < CAST('-1e+140' AS FLOAT64)
      THEN -1
      WHEN `x0` <= CAST('1e+140' AS FLOAT64)
      THEN CASE
        WHEN `x0` <= CAST('0.0' AS FLOAT64)
        THEN CASE
          WHEN `x0` <= CAST('-1.5' AS FLOAT64)
          THEN CASE WHEN `x0` < CAST('-1.5' AS FLOAT64) THEN 0 ELSE 1 END
          ELSE CASE WHEN `x0` < CAST('0.0' AS FLOAT64) THEN 2 ELSE 3 END
        END
        ELSE CASE
          WHEN `x0` <= CAST('2.25' AS FLOAT64)
          THEN CASE WHEN `x0` < CAST('2.25' AS FLOAT64) THEN 4 ELSE 5 END
          ELSE 6
        END
      END
      WHEN `g0` = 1
      THEN -1
      ELSE -2
    END AS `b0`,
    CASE
      WHEN `x2` < CAST('-1e+140' AS FLOAT64) OR -`x2` < CAST('-1e+140' AS FLOAT64)
      THEN -1
      WHEN `x2` <= CAST('1e+140' AS FLOAT64)
      THEN CASE
        WHEN `x2` <= CAST('0.0' AS FLOAT64)
        THEN CASE
          WHEN `x2` <= CAST('-1.5' AS FLOAT64)
          THEN CASE WHEN `x2` < CAST('-1.5' AS FLOAT64) THEN 0 ELSE 1 END
          ELSE CASE WHEN `x2` < CAST('0.0' AS FLOAT64) THEN 2 ELSE 3 END
        END
        ELSE CASE
          WHEN `x2` <= CAST('2.25' AS FLOAT64)
          THEN CASE WHEN `x2` < CAST('2.25' AS FLOAT64) THEN 4 ELSE 5 END
          ELSE 6
        END
      END
      WHEN `g2` = 1
      THEN -1
      ELSE -2
    END AS `b2`
  FROM `valued`
)
SELECT
  0 AS `item`,
  `hour`,
  `segment`,
  `bin`,
  CAST(NULL AS STRING),
  COUNT(*),
  SUM((
    `x` - CAST('0.25' AS FLOAT64)
  )),
  SUM(
    CASE
      WHEN (
        `x` - CAST('0.25' AS FLOAT64)
      ) < CAST('1e-140' AS FLOAT64)
      AND -(
        `x` - CAST('0.25' AS FLOAT64)
      ) < CAST('1e-140' AS FLOAT64)
      THEN CAST('0.0' AS FLOAT64)
      ELSE (
        `x` - CAST('0.25' AS FLOAT64)
      ) * (
        `x` - CAST('0.25' AS FLOAT64)
      )
    END
  ),
  MIN(`x`),
  MAX(`x`)
FROM (
  SELECT
    `hour` AS `hour`,
    0 AS `segment`,
    `b0` AS `bin`,
    CASE WHEN `b0` >= 0 THEN `x0` END AS `x`
  FROM `binned`
) AS each
GROUP BY
  `hour`,
  `segment`,
  `bin`
UNION ALL
SELECT
  0 AS `item`,
  `hour`,
  `segment`,
  `bin`,
  CAST(NULL AS STRING),
  COUNT(*),
  SUM((
    `x` - CAST('0.25' AS FLOAT64)
  )),
  SUM(
    CASE
      WHEN (
        `x` - CAST('0.25' AS FLOAT64)
      ) < CAST('1e-140' AS FLOAT64)
      AND -(
        `x` - CAST('0.25' AS FLOAT64)
      ) < CAST('1e-140' AS FLOAT64)
      THEN CAST('0.0' AS FLOAT64)
      ELSE (
        `x` - CAST('0.25' AS FLOAT64)
      ) * (
        `x` - CAST('0.25' AS FLOAT64)
      )
    END
  ),
  MIN(`x`),
  MAX(`x`)
FROM (
  SELECT
    `hour` AS `hour`,
    `s0` AS `segment`,
    `b0` AS `bin`,
    CASE WHEN `b0` >= 0 THEN `x0` END AS `x`
  FROM `binned`
) AS each
GROUP BY
  `hour`,
  `segment`,
  `bin`
UNION ALL
SELECT
  1 AS `item`,
  `hour`,
  `segment`,
  `bin`,
  `name`,
  CAST(SUM(`rows`) AS INT64),
  CAST(NULL AS FLOAT64),
  CAST(NULL AS FLOAT64),
  CAST(NULL AS FLOAT64),
  CAST(NULL AS FLOAT64)
FROM (
  SELECT
    `hour`,
    `segment`,
    `rows`,
    CASE WHEN `known` = 1 OR `place` <= 10000 THEN 0 ELSE 1 END AS `bin`,
    CASE WHEN `known` = 1 OR `place` <= 10000 THEN `name` END AS `name`
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (
        PARTITION BY `hour`, `segment`, `known`
        ORDER BY `rows` DESC, `name` ASC NULLS LAST
      ) AS `place`
    FROM (
      SELECT
        *,
        CASE WHEN `name` IS NULL OR `name` IN ('basic', 'pro') THEN 1 ELSE 0 END AS `known`
      FROM (
        SELECT
          `hour`,
          `segment`,
          `name`,
          COUNT(*) AS `rows`
        FROM (
          SELECT
            `hour` AS `hour`,
            0 AS `segment`,
            `x1` AS `name`
          FROM `binned`
        ) AS each
        GROUP BY
          `hour`,
          `segment`,
          `name`
      ) AS counted
    ) AS flagged
  ) AS ranked
) AS chosen
GROUP BY
  `hour`,
  `segment`,
  `bin`,
  `name`
UNION ALL
SELECT
  1 AS `item`,
  `hour`,
  `segment`,
  `bin`,
  `name`,
  CAST(SUM(`rows`) AS INT64),
  CAST(NULL AS FLOAT64),
  CAST(NULL AS FLOAT64),
  CAST(NULL AS FLOAT64),
  CAST(NULL AS FLOAT64)
FROM (
  SELECT
    `hour`,
    `segment`,
    `rows`,
    CASE WHEN `known` = 1 OR `place` <= 10000 THEN 0 ELSE 1 END AS `bin`,
    CASE WHEN `known` = 1 OR `place` <= 10000 THEN `name` END AS `name`
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (
        PARTITION BY `hour`, `segment`, `known`
        ORDER BY `rows` DESC, `name` ASC NULLS LAST
      ) AS `place`
    FROM (
      SELECT
        *,
        CASE WHEN `name` IS NULL OR `name` IN ('basic', 'pro') THEN 1 ELSE 0 END AS `known`
      FROM (
        SELECT
          `hour`,
          `segment`,
          `name`,
          COUNT(*) AS `rows`
        FROM (
          SELECT
            `hour` AS `hour`,
            `s0` AS `segment`,
            `x1` AS `name`
          FROM `binned`
        ) AS each
        GROUP BY
          `hour`,
          `segment`,
          `name`
      ) AS counted
    ) AS flagged
  ) AS ranked
) AS chosen
GROUP BY
  `hour`,
  `segment`,
  `bin`,
  `name`
UNION ALL
SELECT
  2 AS `item`,
  `hour`,
  `segment`,
  `bin`,
  CAST(NULL AS STRING),
  COUNT(*),
  SUM((
    `x` - CAST('0.25' AS FLOAT64)
  )),
  SUM(
    CASE
      WHEN (
        `x` - CAST('0.25' AS FLOAT64)
      ) < CAST('1e-140' AS FLOAT64)
      AND -(
        `x` - CAST('0.25' AS FLOAT64)
      ) < CAST('1e-140' AS FLOAT64)
      THEN CAST('0.0' AS FLOAT64)
      ELSE (
        `x` - CAST('0.25' AS FLOAT64)
      ) * (
        `x` - CAST('0.25' AS FLOAT64)
      )
    END
  ),
  MIN(`x`),
  MAX(`x`)
FROM (
  SELECT
    `hour` AS `hour`,
    0 AS `segment`,
    `b2` AS `bin`,
    CASE WHEN `b2` >= 0 THEN `x2` END AS `x`
  FROM `binned`
) AS each
GROUP BY
  `hour`,
  `segment`,
  `bin`
UNION ALL
SELECT
  2 AS `item`,
  `hour`,
  `segment`,
  `bin`,
  CAST(NULL AS STRING),
  COUNT(*),
  SUM((
    `x` - CAST('0.25' AS FLOAT64)
  )),
  SUM(
    CASE
      WHEN (
        `x` - CAST('0.25' AS FLOAT64)
      ) < CAST('1e-140' AS FLOAT64)
      AND -(
        `x` - CAST('0.25' AS FLOAT64)
      ) < CAST('1e-140' AS FLOAT64)
      THEN CAST('0.0' AS FLOAT64)
      ELSE (
        `x` - CAST('0.25' AS FLOAT64)
      ) * (
        `x` - CAST('0.25' AS FLOAT64)
      )
    END
  ),
  MIN(`x`),
  MAX(`x`)
FROM (
  SELECT
    `hour` AS `hour`,
    `s0` AS `segment`,
    `b2` AS `bin`,
    CASE WHEN `b2` >= 0 THEN `x2` END AS `x`
  FROM `binned`
) AS each
GROUP BY
  `hour`,
  `segment`,
  `bin`;

SELECT
  1
WHERE
  `Id` IS NULL
  OR (
    CAST(`Amount` AS FLOAT64) < CAST('-1e+140' AS FLOAT64)
    OR CAST(`Amount` AS FLOAT64) > CAST('1e+140' AS FLOAT64)
  )
  OR LENGTH(`Said`) > 1000
  OR (
    CASE
      WHEN REGEXP_CONTAINS(
        TRIM(`Said`),
        '^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$'
      )
      THEN SAFE_CAST(TRIM(`Said`) AS FLOAT64)
    END < CAST('-1e+140' AS FLOAT64)
    OR CASE
      WHEN REGEXP_CONTAINS(
        TRIM(`Said`),
        '^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$'
      )
      THEN SAFE_CAST(TRIM(`Said`) AS FLOAT64)
    END > CAST('1e+140' AS FLOAT64)
  )
  OR (
    NOT `Said` IS NULL
    AND CASE
      WHEN REGEXP_CONTAINS(
        TRIM(`Said`),
        '^[+-]?([0-9]{1,150}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?0*([0-9]{1,2}|1[0-4][0-9]))?$'
      )
      THEN SAFE_CAST(TRIM(`Said`) AS FLOAT64)
    END IS NULL
  )
  OR (
    NOT `Since` IS NULL AND UNIX_MICROS(CAST(`Since` AS TIMESTAMP)) IS NULL
  );
