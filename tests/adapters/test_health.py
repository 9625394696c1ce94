"""Readiness tells the truth: a durable write works, and no event waits for too long."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cluster import NoPostgres, Server, new_schema, own_server
from command_line import Cli
from fakes import Sender, eventually
from humanuser import By, HumanUserAdded, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.event_log import LogEnd, OpenTransaction
from humanuser_adapters.shared_check import SharedCheck
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
IN_TIME = 3.0
"""Seconds within which readiness must answer, whatever the database does."""


def ready_again(application: Application) -> bool:
    return eventually(lambda: application.problems() == {}, seconds=30)


def asked(application: Application) -> dict[str, str]:
    """The problems, which must be reported in time."""
    begin = time.monotonic()
    problems = application.problems()
    assert time.monotonic() - begin < IN_TIME
    return problems
