-- Run once, when the server's volume is created; the database of Dagster itself is made by the image.
CREATE DATABASE monitoring;
CREATE DATABASE mlflow;
