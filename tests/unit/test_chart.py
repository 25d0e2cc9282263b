"""The chart has its own copies of the manifests' objects: Helm, and who packs it, do not follow links out of it."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = REPOSITORY / "charts" / "sandmount" / "files"


def test_the_copies_are_what_make_chart_would_put_there() -> None:
    copies = {path.name: path.read_text() for path in FILES.iterdir()}
    assert copies
    parts = sorted((p.name for p in (REPOSITORY / "manifests").iterdir() if p.is_dir()), key=len, reverse=True)
    for name, text in copies.items():
        part = next(p for p in parts if name.startswith(f"{p}-"))
        original = REPOSITORY / "manifests" / part / name.removeprefix(f"{part}-")
        assert text == original.read_text(), f"{name}: run make chart"


def test_no_object_of_the_base_is_left_out() -> None:
    there = {path.name for path in (REPOSITORY / "manifests" / "base").glob("*.yaml")}
    copied = {path.name.removeprefix("base-") for path in FILES.glob("base-*")}
    assert there - copied == {"kustomization.yaml", "namespace.yaml"}
