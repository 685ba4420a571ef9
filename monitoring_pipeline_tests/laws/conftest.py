"""Laws of stores hold in folders and in buckets."""

from monitoring_pipeline_tests.buckets import bucket, bucket_server, place

__all__ = ["bucket", "bucket_server", "place"]
