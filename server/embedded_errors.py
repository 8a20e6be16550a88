"""What goes wrong with the embedded servers, in words for the person who starts Shakti."""


class EmbeddedError(Exception):
    """The embedded servers cannot run; the text is a sentence that says what to do."""
