"""Files of events, one a row, as ``psql`` writes those of a ZITADEL database."""

from humanuser_adapters.event_files.formats import FileFormat
from humanuser_adapters.event_files.reading import EventFile, spooled
from humanuser_adapters.event_files.writing import json_line, new_file, write_events

__all__ = ["EventFile", "FileFormat", "json_line", "new_file", "spooled", "write_events"]
