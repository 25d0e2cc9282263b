"""What is wrong with an allowlist, and what is right and still worth a thought. Pure."""

from collections.abc import Iterator

from sandmount import paths
from sandmount.allowlist import Entry, matches
from sandmount.check.findings import Finding, Level, Place
from sandmount.check.listsource import ListSource, item_nodes


def lint(source: ListSource) -> tuple[Finding, ...]:
    """The findings about an allowlist, in the order of its lines."""
    allowlist = source.allowlist
    if allowlist.unusable is not None:
        reason, sentence = allowlist.unusable
        return (Finding(source.place(1), Level.INVALID, reason, sentence),)
    if allowlist.allows_all:
        words = "the list is empty, so EVERY host path is allowed; write the roots that are needed, or none"
        return (Finding(source.place(1), Level.WARNING, "AllowlistAllowsAll", words),)
    return tuple(_Linter(source).findings())


def item_places(source: ListSource) -> dict[int, Place]:
    """Where each item stands, by its position in the list, the first being 1."""
    return {position: source.place(node.line) for position, node in enumerate(item_nodes(source), start=1)}


class _Linter:
    """Looks at entries alone, and at each pair of which one holds the other."""

    def __init__(self, source: ListSource) -> None:
        self._source = source
        self._places = item_places(source)
        self._at: dict[str, list[Entry]] = {}
        for entry in source.allowlist.entries:
            self._at.setdefault(entry.root, []).append(entry)

    def findings(self) -> list[Finding]:
        """All of them."""
        found = [*self._bad_items(), *self._repeated()]
        for entries in self._at.values():
            for entry in entries:
                found += [*self._risks(entry), *self._outer(entry)]
            found += self._same_root(entries)
        return sorted(found, key=lambda f: (f.place.line, f.rule, f.message))

    def _finding(self, position: int, level: Level, rule: str, message: str) -> Finding:
        place = self._places.get(position, self._source.place(1))
        return Finding(place, level, rule, f"item {position}: {message}")

    def _bad_items(self) -> Iterator[Finding]:
        for bad in self._source.allowlist.bad_items:
            yield self._finding(bad.position, Level.ERROR, "AllowlistBadItem", f"{bad.problem}; it grants nothing")

    def _repeated(self) -> Iterator[Finding]:
        """The items that are neither entries nor bad say what an earlier one has said."""
        allowlist = self._source.allowlist
        known = {e.position for e in allowlist.entries} | {b.position for b in allowlist.bad_items}
        for position in self._places:
            if position not in known:
                yield self._finding(
                    position, Level.WARNING, "AllowlistRepeatedItem", "says what an earlier item says; remove it"
                )

    def _risks(self, entry: Entry) -> Iterator[Finding]:
        root = paths.quoted(entry.root)
        if critical := paths.host_critical(entry.root):
            words = f"{root} gives access to {critical}, which the node depends on; acknowledgeRisk lets it through"
            yield self._finding(entry.position, Level.WARNING, "RiskyRoot", words)
        elif entry.acknowledge_risk:
            words = f"acknowledgeRisk is not needed for {root}; remove it, so that it stays rare"
            yield self._finding(entry.position, Level.NOTE, "UnneededAcknowledgeRisk", words)
        if not entry.read_only and not entry.namespaces:
            words = f"{root} can be written from every namespace; write namespaces, or readOnly: true"
            yield self._finding(entry.position, Level.NOTE, "WritableEverywhere", words)

    def _outer(self, inner: Entry) -> Iterator[Finding]:
        """About every entry that holds this one; such an entry is read-only, or this would be a bad item."""
        for root in paths.upwards(inner.root):
            for outer in self._at.get(root, ()) if root != inner.root else ():
                where = f"{paths.quoted(inner.root)} lies inside item {outer.position}, {paths.quoted(outer.root)}"
                excluded = self._excluded(outer, self._at[inner.root])
                if excluded is not None:
                    words = f"{where}, through which namespaces {excluded} can read it although it is not for them"
                    yield self._finding(inner.position, Level.WARNING, "ReadableThroughOuter", words)
                else:
                    words = f"{where}, which is read-only: what the inner item says decides for it"
                    yield self._finding(inner.position, Level.NOTE, "NestedRoot", words)

    @staticmethod
    def _excluded(outer: Entry, inner: list[Entry]) -> str | None:
        """Namespaces, for people, that the outer entry serves and no inner one does."""
        served = [pattern for entry in inner for pattern in entry.namespaces or ("*",)]
        left = [p for p in outer.namespaces or ("*",) if not any(_covers(s, p) for s in served)]
        if not left:
            return None
        others = ", ".join(f'"{s}"' for s in served)
        return f"other than {others}" if left == ["*"] else ", ".join(f'"{p}"' for p in left)

    def _same_root(self, entries: list[Entry]) -> Iterator[Finding]:
        """One path, read-only for some namespaces and writable for others: some read what others wrote."""
        writable = next((e for e in entries if not e.read_only), None)
        for entry in entries:
            if writable is not None and entry.read_only:
                words = (
                    f"{paths.quoted(entry.root)} is read-only here and writable in item {writable.position}: "
                    "these namespaces read what those write"
                )
                yield self._finding(entry.position, Level.NOTE, "ReadOnlyAndWritable", words)


def _covers(pattern: str, other: str) -> bool:
    """Whether every namespace of the other pattern is one of this pattern."""
    if other.endswith("*") and not pattern.endswith("*"):
        return False
    return matches(pattern, other.removesuffix("*"))
