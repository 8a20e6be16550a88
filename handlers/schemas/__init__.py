"""JSON in and out: marshmallow schemas that read a request into a frozen dataclass, with all faults at once."""
