"""Measured claims: the server and its peers side by side, in one run on one machine.

    python -m bench                     everything, as `make bench` does
    python -m bench placing signins     these parts alone
    python -m bench --quick             a look, in seconds instead of minutes; its figures prove nothing

A part is a package in here with `NAME` and `run(options) -> list[Line]`, which may be a coroutine; PARTS in
__main__.py names them in the order of the table. What parts share: lines.py (results, goals, the table), rounds.py
(interleaved rounds, medians), processes.py (child processes, their CPU and memory), tools.py (what is built and what
has to be installed), ground.py (PostgreSQL and Redis for all contenders), shakti.py (the server itself), http_load.py
(the client that loads all of them).
"""
