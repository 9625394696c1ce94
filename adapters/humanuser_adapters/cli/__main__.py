"""``python -m humanuser_adapters.cli`` is ``humanuser``."""

from humanuser_adapters.cli import main

main()
