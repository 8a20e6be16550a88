"""Other people's ways to write one message to many websockets, started by the bench as processes of their own.

What lives here: the peers, each as its users write it. What must not: measuring.
"""
