"""Makes the Python of the ``.proto`` files: ``make protos``. A test fails when it is stale."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from sysconfig import get_path

from grpc_tools import protoc

ROOT = Path(__file__).parents[1] / "adapters"
PROTOS = ROOT / "humanuser_adapters" / "api" / "protos"


def generate(folder: Path) -> None:
    """Write the modules of all files below *folder*. Raises ``ValueError`` for a mistake in one of them."""
    bundled = str(files("grpc_tools") / "_proto")
    includes = [f"-I{place}" for place in (ROOT, bundled, get_path("purelib"))]
    sources = [str(path) for path in sorted(PROTOS.glob("*.proto"))]
    outputs = [f"--python_out={folder}", f"--pyi_out={folder}"]
    if protoc.main(["protoc", *includes, *outputs, *sources]):  # type: ignore[no-untyped-call]  # it has no types
        raise ValueError("the .proto files cannot be compiled")


if __name__ == "__main__":
    generate(ROOT)
