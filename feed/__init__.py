"""The live feed: from the event log to every subscriber's socket."""
