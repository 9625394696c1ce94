"""Histories from elsewhere: checked, and brought in whole or not at all."""

from humanuser_adapters.replay.check import HistoryCheck, Problem
from humanuser_adapters.replay.importer import ChangedMeanwhile, Importer, ImportRefused, ImportSummary, Told

__all__ = ["ChangedMeanwhile", "HistoryCheck", "ImportRefused", "ImportSummary", "Importer", "Problem", "Told"]
