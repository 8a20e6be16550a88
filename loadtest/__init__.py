"""A load test of a running server: people who trade and watch the feed, and check all that it says."""
