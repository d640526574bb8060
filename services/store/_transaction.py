"""A group commit: several closures in one transaction, none of which can harm another."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import outcome

Closure = Callable[[sqlite3.Connection], object]
Outcome = outcome.Maybe[object]


class _TransactionLostError(Exception):
    """SQLite itself rolled everything back (a full disk does that), or the commit failed."""


def commit_together(connection: sqlite3.Connection, closures: Sequence[Closure]) -> list[Outcome]:
    """Run `closures` in order and commit; return what each returned or raised. Blocking.

    A closure that raises is undone alone. When the transaction as a whole is lost, each closure
    is run again in one of its own, so that the one that cannot be stored fails alone: closures
    may therefore run twice, and must have no effect but on the connection.
    """
    if len(closures) == 1:
        return [_commit_alone(connection, closures[0])]
    try:
        return _commit_all(connection, closures)
    except _TransactionLostError:
        return [_commit_alone(connection, closure) for closure in closures]


def _commit_alone(connection: sqlite3.Connection, closure: Closure) -> Outcome:
    try:
        connection.execute("BEGIN IMMEDIATE")
        result = closure(connection)
        _require_transaction(connection)
        connection.execute("COMMIT")
    except Exception as error:  # whatever it is, it is the caller's: this thread only carries it
        _undo(connection)
        return outcome.Error(error)
    return outcome.Value(result)


def _commit_all(connection: sqlite3.Connection, closures: Sequence[Closure]) -> list[Outcome]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = [_run_in_savepoint(connection, closure) for closure in closures]
        connection.execute("COMMIT")
    except (sqlite3.Error, _TransactionLostError) as error:
        _undo(connection)
        raise _TransactionLostError from error
    return results


def _run_in_savepoint(connection: sqlite3.Connection, closure: Closure) -> Outcome:
    connection.execute("SAVEPOINT closure")
    try:
        result = closure(connection)
    except Exception as error:  # as above: carried to its caller
        if not connection.in_transaction:
            raise _TransactionLostError from error
        connection.execute("ROLLBACK TO closure")
        connection.execute("RELEASE closure")
        return outcome.Error(error)
    _require_transaction(connection)
    connection.execute("RELEASE closure")
    return outcome.Value(result)


def _require_transaction(connection: sqlite3.Connection) -> None:
    if not connection.in_transaction:
        raise RuntimeError("a write closure ended the store's transaction")


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
