"""mountinfo, as the kernel writes it."""

from sandmount.host.mountinfo import Mount, below, parse, place_on_device

TEXT = rb"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,errors=remount-ro
30 22 0:28 / /data rw,nosuid,nodev,nosymfollow shared:9 master:2 - tmpfs tmpfs rw,size=4k
31 30 254:0 /srv/a\040b /data/in\040ner\012x rw - ext4 /dev/root ro
32 30 0:29 / /data/\377 ro - proc proc rw
33 22 0:30 / /database rw - tmpfs tmpfs rw
bad line
34 22
"""


def test_mounts_are_read_with_their_flags_and_names() -> None:
    root, data, inner, odd, database = parse(TEXT)
    assert (root.number, root.device, root.top, root.point, root.file_system) == (22, "254:0", "/", "/", "ext4")
    assert (root.read_only, root.missing, root.shown) == (
        False,
        ("nosymfollow", "nosuid", "nodev"),
        'ext4 at "/", without flags',
    )
    assert (data.read_only, data.missing) == (False, ())
    assert (inner.point, inner.top, inner.read_only) == ("/data/in ner\nx", "/srv/a b", True)  # its file system's own
    assert odd.point == "/data/\udcff"
    assert odd.shown == 'proc at "/data/\\udcff", ro'
    assert database.point == "/database"


def test_mounts_below_a_root_are_those_inside_it_by_name() -> None:
    assert [m.point for m in below(parse(TEXT), "/data")] == ["/data/in ner\nx", "/data/\udcff"]


def test_a_place_is_the_same_however_often_it_is_mounted() -> None:
    def mount(top: str, point: str) -> Mount:
        return Mount(1, "8:1", top, point, "ext4", frozenset())

    assert place_on_device(mount("/", "/"), "/srv/a/b") == ("8:1", "/srv/a/b")
    assert place_on_device(mount("/srv/a", "/mnt"), "/mnt/b") == ("8:1", "/srv/a/b")
    assert place_on_device(mount("/srv/a", "/mnt"), "/mnt") == ("8:1", "/srv/a")
